// An adapter with a score head: what a reward model (one output) or a classifier (an output per
// class) is over the frozen base. The head is PEFT's `score` in modules_to_save, so that
// transformers' *ForSequenceClassification with PEFT reads it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/heads.h"
#include "models/io/checkpoint.h"

namespace leash {

// The decoder's modules and, behind them, `score` with this many outputs.
std::vector<ModuleInfo> modules_with_score(const Decoder& decoder, int64_t outputs = 1);

// The head of an adapter over these modules; it shares the adapter's tensor. [outputs, hidden]
LinearHead score_head(const Adapter& adapter);

// What `lora:` says, trainable: a fresh adapter, or that of lora.path. The head is the path's where
// it has one; else the checkpoint's (a sequence-classification checkpoint with as many outputs),
// else drawn from N(0, initializer_range²) by the seed, as transformers does. An adapter of a
// language model gets a head.
Adapter start_score_adapter(const LoraConfig& config, const Decoder& decoder,
                            const Checkpoint& checkpoint, uint64_t seed, int64_t outputs = 1);

// Outputs of the head in an adapter's folder; none where it has no head. FormatError.
std::optional<int64_t> score_outputs(const std::filesystem::path& folder);

// A trained adapter, frozen. FormatError when it has no score head or belongs to another model.
Adapter load_score_adapter(const std::filesystem::path& folder, const Decoder& decoder,
                           int64_t outputs = 1);

}  // namespace leash
