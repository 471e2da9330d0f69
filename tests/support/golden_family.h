// The tiny checkpoints of every family and their golden numbers (tests/golden/make_families.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/lora/lora.h"
#include "models/weights/tensor_source.h"

namespace leash::testing {

// Names of the folders, in order.
std::vector<std::string> golden_families(bool classifiers);

struct GoldenFamily {
  explicit GoldenFamily(const std::string& name);

  std::vector<int64_t> ids(const std::string& name) const;
  at::Tensor numbers(const std::string& name) const;  // fp32
  Adapter adapter() const;

  std::filesystem::path folder;
  std::shared_ptr<const TensorSource> golden;
  Checkpoint checkpoint;
  std::shared_ptr<const Decoder> decoder;
  std::vector<std::vector<int64_t>> texts;  // two
};

// Log-probs of each token after the first, from the states of one text. [tokens - 1]
at::Tensor logprobs_of(const Decoder& decoder, const at::Tensor& hidden,
                       const std::vector<int64_t>& text, const AdapterRows& adapters);

}  // namespace leash::testing
