#include "rl/training/probe.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "models/errors.h"

namespace leash {

void require_usable(const Decoder& decoder, const Adapter& adapter, GatherQueue* gathers,
                    int64_t step) {
  const c10::AutoGradMode no_grad(false);
  std::vector<int64_t> ids(static_cast<size_t>(
      std::min<int64_t>({16, decoder.config().vocab_size, decoder.config().max_positions})));
  std::iota(ids.begin(), ids.end(), 0);
  GatherScope scope(gathers, GatherQueue::Keep::next);
  const at::Tensor sizes =
      decoder.forward(pack_one(ids), &adapter).to(at::kCPU, at::kDouble).abs().amax(1);
  scope.finish();
  // One position may well be zero: a token whose embedding is, in a model without biases.
  const bool usable = sizes.isfinite().all().item<bool>() && sizes.gt(0).any().item<bool>();
  if (usable) return;
  throw NonFinite(fmt::format(
      "the adapter after step {} was not exported: what the model makes of a text with it is not "
      "finite; the run diverged (is the learning rate too high?)",
      step));
}

}  // namespace leash
