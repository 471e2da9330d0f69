// Writing a model, or its adapter, in another program's format, and comparing what was written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/weights/block_type.h"
#include "rl/run/export_config.h"

namespace leash::cli {

struct ExportRequest {
  Checkpoint checkpoint;
  std::shared_ptr<const Decoder> decoder;        // of the checkpoint
  std::optional<std::filesystem::path> adapter;  // a folder of PEFT's files
  ExportKind kind = ExportKind::hf;
  std::optional<BlockType> type;  // none: default_export_type
  std::filesystem::path out;
};

struct ExportResult {
  BlockType type = BlockType::f32;
  double largest_gap = 0;  // nats (of a score head: of its scores), against base and adapter
  int64_t compared = 0;    // tokens (or scores)
  bool of_scores = false;
};

// f16 or bf16 where the base keeps its embedding so, else f32; an adapter's always f32.
BlockType default_export_type(const Checkpoint& checkpoint, ExportKind kind);

// The folder with adapter_config.json: DIR itself (an adapter, a snapshot) or DIR/adapter (a run).
std::filesystem::path adapter_folder(const std::filesystem::path& folder);

// Writes aside, reads that back, compares it with base and adapter on some text, renames.
// ConfigError where `out` exists or the request makes no sense, FormatError where the format cannot
// hold the model or the adapter.
ExportResult export_model(const ExportRequest& request);

// "largest gap in log-probs: 3.1e-07 nats over 173 tokens".
std::string gap_text(const ExportResult& result);

}  // namespace leash::cli
