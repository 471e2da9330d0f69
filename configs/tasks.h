// The rows: every task, once. A recipe's `task:` chooses one.
#pragma once

#include <string_view>
#include <variant>

#include "rl/classification/task.h"
#include "rl/dpo/task.h"
#include "rl/grpo/task.h"
#include "rl/ppo/task.h"
#include "rl/reinforce/task.h"
#include "rl/reward_model/task.h"
#include "rl/rloo/task.h"
#include "rl/sft/task.h"

namespace leash {

// The first one is what a recipe without a task is read as, for the sake of its other problems.
using TaskSetup = std::variant<PpoSetup, SftSetup, RewardSetup, ClassificationSetup, GrpoSetup,
                               RlooSetup, ReinforceSetup, DpoSetup>;

namespace detail {
template <class Visit, class... Setups>
void for_each_task(const Visit& visit, const std::variant<Setups...>*) {
  (visit.template operator()<Setups>(), ...);
}
}  // namespace detail

// visit.operator()<Setup>() for every row, in their order.
template <class Visit>
void for_each_task(const Visit& visit) {
  detail::for_each_task(visit, static_cast<const TaskSetup*>(nullptr));
}

inline std::string_view task_name(const TaskSetup& setup) {
  return std::visit(
      []<class Setup>(const Setup&) -> std::string_view { return TaskTraits<Setup>::name; }, setup);
}

}  // namespace leash
