// A model as a plan sees it: its facts and the shapes of its tensors, never a weight.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/families/decoder_config.h"
#include "models/families/model_config.h"
#include "models/io/checkpoint.h"
#include "models/lora/lora.h"

namespace leash {

struct ModelFacts {
  std::string name;  // for messages
  DecoderConfig config = {};
  std::vector<ModuleInfo> modules = {};                   // as Decoder::modules()
  bool own_head = false;                                  // lm_head has a weight of its own
  std::shared_ptr<const TensorSource> tensors = nullptr;  // headers; none: known by its facts alone
  int64_t file_bytes = 0;  // of the files that a run keeps mapped into its memory
};

// From facts alone. FormatError for an architecture that is not supported.
ModelFacts facts_of(const DecoderConfig& config, const std::string& name);
// From a config.json alone. FormatError as when a folder is opened.
ModelFacts read_model_config(const std::filesystem::path& file);
// From the headers of a checkpoint. FormatError where a tensor is missing or has another shape than
// the configuration says.
ModelFacts facts_of(const Checkpoint& checkpoint);

// Decoder::num_parameters() and Decoder::weight_bytes() of the loaded model. ConfigError for
// `keep` without a file whose blocks could be kept.
int64_t num_parameters(const ModelFacts& model);
int64_t weight_bytes(const ModelFacts& model, at::ScalarType dtype, Quantize quantize);

// Decoder::weight_bytes() of a rank where dense weights are sharded between `ranks`, and what is
// gathered of them (nothing by one rank, which has all).
struct ShardedBytes {
  int64_t held = 0;      // this rank's parts, and what stays whole
  int64_t in_use = 0;    // the largest unit and one that is fetched ahead
  int64_t all = 0;       // every unit
  int64_t forward = 0;   // units of a pass as far as the last block
  int64_t head = 0;      // and of the projection onto the vocabulary
  int64_t backward = 0;  // and of the way back
  int64_t num_blocks = 0;
  int64_t loading = 0;  // most that is held while they are loaded, one unit after the other
};
ShardedBytes sharded_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t ranks);

// Most that is held while the weights are loaded one after the other: all that are there already
// and, of those that are being joined into one product, their parts as well.
int64_t loading_bytes(const ModelFacts& model, at::ScalarType dtype, Quantize quantize);

// Elements of a tensor of this shape.
int64_t numel(const std::vector<int64_t>& shape);
int64_t ceil_divide(int64_t a, int64_t b);

// Bytes of one element.
int64_t element_bytes(at::ScalarType dtype);
// The same for what trains and for statistics: float32, or float64 beside float64 weights.
int64_t wide_bytes(at::ScalarType dtype);

}  // namespace leash
