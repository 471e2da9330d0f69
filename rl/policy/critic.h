// The critic: estimates the return of each state of an answer. A loop may do without one.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/decoder/heads.h"
#include "models/fields.h"
#include "rl/optim/optimizer.h"
#include "rl/optim/schedule.h"

namespace leash {

enum class CriticKind { none, shared, adapter, separate };
template <>
struct EnumNames<CriticKind> {
  static constexpr std::pair<CriticKind, std::string_view> values[] = {
      {CriticKind::none, "none"},
      {CriticKind::shared, "shared"},
      {CriticKind::adapter, "adapter"},
      {CriticKind::separate, "separate"}};
};

// Whether such a critic runs a decoder of its own over the answers.
inline bool has_own_trunk(CriticKind kind) {
  return kind == CriticKind::adapter || kind == CriticKind::separate;
}

// How a critic is trained, besides its loss.
struct CriticTraining {
  double learning_rate = 1e-3;
  SchedulerType lr_scheduler_type = SchedulerType::linear;
  std::optional<int64_t> warmup_steps = {};  // nullopt: as the policy
  OptimizerKind optim = OptimizerKind::adamw_torch;
  int64_t warmup_iterations = 0;  // at the start, while the policy stands still
};

struct Critic {
  CriticKind kind = CriticKind::shared;    // never none
  std::shared_ptr<const Decoder> decoder;  // the shared base, or a model of its own
  std::optional<Adapter> adapter;   // what it trains besides the head; none for `shared` and `head`
  LinearHead head;                  // [1, hidden], trained
  bool backprop_to_policy = false;  // `shared` only

  std::vector<at::Tensor> parameters() const;
  // Whether the head reads states of its own that never change: all there is to compute of an
  // answer, once.
  bool has_frozen_trunk() const { return kind != CriticKind::shared && !adapter; }
};

}  // namespace leash
