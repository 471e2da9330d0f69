// The rules of `task: dpo`.
#include <fmt/format.h>

#include <algorithm>

#include "configs/checks.h"
#include "configs/preference_checks.h"

namespace leash {

void check(const DpoSetup& setup, const Written& written, Problems& problems) {
  Checker checker(written, problems);
  check_beside_reference(setup, "a JSONL file with pairs", checker);
  const DpoConfig& config = setup.dpo;
  const std::vector<DpoLoss>& types = config.loss_type.values;
  const auto uses = [&](DpoLoss type) { return std::ranges::find(types, type) != types.end(); };
  checker.require(!types.empty(), "dpo.loss_type", "is an empty list");
  checker.require(!config.loss_weights || config.loss_weights->size() == types.size(),
                  "dpo.loss_weights",
                  fmt::format("has {} numbers for {} of dpo.loss_type",
                              config.loss_weights ? config.loss_weights->size() : 0, types.size()));
  const bool compares =
      std::ranges::any_of(types, [](DpoLoss type) { return type != DpoLoss::sft; });
  checker.no_effect_unless(uses(DpoLoss::robust), "dpo.label_smoothing",
                           "without dpo.loss_type: robust");
  // Rewards are shown with it, but nothing is learnt from them.
  checker.no_effect_unless(compares, "dpo.ld_alpha", "with dpo.loss_type: sft alone");
}

}  // namespace leash
