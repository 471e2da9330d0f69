#include "rl/reference/bases.h"

#include <utility>

namespace leash {

Bases::Bases(Checkpoint checkpoint, std::shared_ptr<const Decoder> base, Quantize quantize)
    : checkpoint_(std::move(checkpoint)), base_(std::move(base)), quantize_(quantize) {}

std::shared_ptr<const Decoder> Bases::on(at::Device device) {
  if (device == base_->device()) return base_;
  auto& copy = copies_[device.str()];
  if (copy == nullptr) {
    copy = Decoder::load(checkpoint_,
                         {.dtype = base_->weight_dtype(), .quantize = quantize_, .device = device});
  }
  return copy;
}

}  // namespace leash
