// Log-probs of a reference, computed once and kept in the run's folder (precompute_ref_log_probs).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "models/decoder/packed_texts.h"
#include "rl/distributed/communicator.h"
#include "rl/training/parts.h"

namespace leash {

// Says what log-probs depend on: base, reference, type, and every token of the texts. `more` is
// the task's own.
std::string logprobs_fingerprint(const TrainedModel& model, std::span<const AnswerText> texts,
                                 const std::string& more);

// reference_logprobs.safetensors in `folder` where it has this fingerprint and `count` numbers;
// else what `compute` gives (all ranks call it), which is written there. All ranks call it and get
// the same numbers. FormatError where there is such a file that cannot be read.
std::vector<double> kept_logprobs(const std::filesystem::path& folder,
                                  const std::string& fingerprint, int64_t count,
                                  Communicator& communicator,
                                  const std::function<std::vector<double>()>& compute);

inline constexpr const char* kKeptLogprobsFile = "reference_logprobs.safetensors";

}  // namespace leash
