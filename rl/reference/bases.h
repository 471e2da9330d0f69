// The frozen base on each device where a role needs it.
#pragma once

#include <c10/core/Device.h>

#include <map>
#include <memory>
#include <string>

#include "models/decoder/decoder.h"
#include "models/families/model_config.h"
#include "models/io/checkpoint.h"

namespace leash {

// Loads a copy of the base, in its dtype and quantised like it, when a device is first asked for.
class Bases {
 public:
  Bases(Checkpoint checkpoint, std::shared_ptr<const Decoder> base, Quantize quantize);

  std::shared_ptr<const Decoder> on(at::Device device);

 private:
  Checkpoint checkpoint_;
  std::shared_ptr<const Decoder> base_;
  Quantize quantize_ = Quantize::none;
  std::map<std::string, std::shared_ptr<const Decoder>> copies_;
};

}  // namespace leash
