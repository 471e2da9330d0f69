// A model beside the policy's that reads the policy's ids: a reference or a critic of its own.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "models/decoder/decoder.h"
#include "models/families/model_config.h"
#include "models/io/checkpoint.h"
#include "models/tokenizer/tokenizer.h"

namespace leash {

class GatherQueue;

// What a second model has to agree with.
struct FirstModel {
  const Decoder& decoder;
  const Tokenizer& tokenizer;
};

// In the first model's dtype and quantised like it (`keep` where its file has anything to keep).
// ConfigError that begins with `key` where its ids mean something else than the first one's;
// FormatError. With `gathers`, its weights are sharded.
std::shared_ptr<const Decoder> load_second_model(const std::string& path, const FirstModel& first,
                                                 Quantize quantize, at::Device device,
                                                 const std::shared_ptr<GatherQueue>& gathers,
                                                 const std::string& key);

}  // namespace leash
