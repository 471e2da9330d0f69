// The optimizers behind `optim:`, under transformers' names, with one interface.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "models/fields.h"
#include "rl/optim/adafactor.h"
#include "rl/optim/adamw.h"
#include "rl/optim/adamw8bit.h"
#include "rl/optim/sgd.h"

namespace leash {

enum class OptimizerKind { adamw_torch, adamw_8bit, paged_adamw_8bit, sgd, adafactor };
template <>
struct EnumNames<OptimizerKind> {
  static constexpr std::pair<OptimizerKind, std::string_view> values[] = {
      {OptimizerKind::adamw_torch, "adamw_torch"},
      {OptimizerKind::adamw_8bit, "adamw_8bit"},
      {OptimizerKind::paged_adamw_8bit, "paged_adamw_8bit"},
      {OptimizerKind::sgd, "sgd"},
      {OptimizerKind::adafactor, "adafactor"}};
};

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::adamw_torch;
  double beta1 = 0.9;         // the three kinds of AdamW
  double beta2 = 0.999;       // the three kinds of AdamW
  double epsilon = 1e-8;      // the three kinds of AdamW
  double weight_decay = 0.0;  // of all parameters
};

class Optimizer {
 public:
  Optimizer(std::vector<at::Tensor> parameters, const OptimizerConfig& config);
  // One update with the parameters' gradients; a parameter without a gradient is left alone.
  void step(double learning_rate);
  void zero_grad();
  const std::vector<at::Tensor>& parameters() const;

  // The state to save, under names that begin with the parameter's number ("0.step"). The tensors
  // share memory with the optimizer: write (or clone) them before the next step.
  OptimizerState state() const;
  // Copies a saved state, in any order. FormatError, and nothing is changed, when it is not one of
  // this kind of optimizer and these parameters.
  void load_state(const OptimizerState& state);
  // Bytes of the tensors of state().
  int64_t state_bytes() const;

  // What the user should be told once about this choice, e.g. that it has no effect here.
  std::optional<std::string> note() const;

 private:
  OptimizerKind kind_;
  std::variant<AdamW, AdamW8bit, Sgd, Adafactor> rule_;
};

}  // namespace leash
