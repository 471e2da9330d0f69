// Frozen weights of which each rank holds a part (ZeRO stage 3, Rajbhandari et al. 2020; FSDP, Zhao
// et al. 2023). They never change, so no gradients of them exist and nothing is ever sent back.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "models/weights/gather_queue.h"
#include "models/weights/weight_source.h"

namespace leash {

// One unit of `gathers`: these matrices end to end, each from a multiple of 64 bytes on, zeros
// behind them, in as many equal parts as there are ranks; packed ones (packed_weight.h) stay
// packed. What comes back stands for them on `device`, in their order; it holds nothing but this
// rank's part, and gathers the unit for every use, forward and backward. The matrices are dense, of
// one dtype and on one device (any); they may be freed afterwards. bytes() of the first is the
// part's, of the others 0.
std::vector<std::shared_ptr<const WeightSource>> shard(
    const std::shared_ptr<GatherQueue>& gathers,
    const std::vector<std::shared_ptr<const WeightSource>>& matrices, c10::Device device);

}  // namespace leash
