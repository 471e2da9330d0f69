// Advantages of answers that are compared with each other. Rows of a group stand together: rewards
// [batch], batch a multiple of the group's size. Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"

namespace leash {

enum class ScaleRewards { group, batch, none };
template <>
struct EnumNames<ScaleRewards> {
  static constexpr std::pair<ScaleRewards, std::string_view> values[] = {
      {ScaleRewards::group, "group"}, {ScaleRewards::batch, "batch"}, {ScaleRewards::none, "none"}};
};

// r - mean of its group, over the standard deviation (n - 1) of the group or of the batch plus 1e-4
// (GRPO: Shao et al. 2024, eq. 3; TRL's constant), or over nothing (Dr. GRPO: Liu et al. 2025). A
// group of one: 0. [batch]
at::Tensor group_advantages(const at::Tensor& rewards, int64_t group_size, ScaleRewards scale);

// r - mean of the others of its group (Kool et al. 2019; Ahmadian et al. 2024, eq. 8). [batch]
at::Tensor leave_one_out_advantages(const at::Tensor& rewards, int64_t group_size);

// (A - mean) / (standard deviation (n - 1) + 1e-4) over the batch, as TRL's RLOO. One number stays
// as it is.
at::Tensor normalised_advantages(const at::Tensor& advantages);

// What is subtracted from a reward before returns are summed up.
enum class Baseline { none, batch, group };
template <>
struct EnumNames<Baseline> {
  static constexpr std::pair<Baseline, std::string_view> values[] = {
      {Baseline::none, "none"}, {Baseline::batch, "batch"}, {Baseline::group, "group"}};
};
at::Tensor minus_baseline(const at::Tensor& rewards, int64_t group_size, Baseline baseline);

// Σ_{s ≥ t} γ^{s-t} R_s over the masked tokens of each row, 0 outside (REINFORCE++: Hu et al. 2025;
// OpenRLHF's get_cumulative_returns). [batch, time]
at::Tensor returns_to_go(const at::Tensor& rewards /* [batch, time] */, const at::Tensor& mask,
                         double gamma);

// Share of groups whose rewards are all alike, which teach nothing; "alike" as torch.isclose(std,
// 0). Of them `high` are those at or above the middle between the batch's least and largest reward,
// `low` those below; where the whole batch is alike its sign decides, 0 being low.
struct FlatGroups {
  double share = 0, high = 0, low = 0;
};
FlatGroups flat_group_share(const at::Tensor& rewards, int64_t group_size);
// Of each group, whether its rewards are all alike.
std::vector<bool> flat_groups(const at::Tensor& rewards, int64_t group_size);

}  // namespace leash
