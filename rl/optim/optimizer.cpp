#include "rl/optim/optimizer.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>

#include "rl/optim/paged_memory.h"

namespace leash {
namespace {

using Rule = std::variant<AdamW, AdamW8bit, Sgd, Adafactor>;

Rule make_rule(std::vector<at::Tensor> parameters, const OptimizerConfig& config) {
  const AdamWConfig adamw{config.beta1, config.beta2, config.epsilon, config.weight_decay};
  switch (config.kind) {
    case OptimizerKind::adamw_torch:
      return AdamW(std::move(parameters), adamw);
    case OptimizerKind::adamw_8bit:
      return AdamW8bit(std::move(parameters), adamw);
    case OptimizerKind::paged_adamw_8bit:
      return AdamW8bit(std::move(parameters), adamw, /*paged=*/true);
    case OptimizerKind::sgd:
      return Sgd(std::move(parameters), {.weight_decay = config.weight_decay});
    case OptimizerKind::adafactor:
      return Adafactor(std::move(parameters), {.weight_decay = config.weight_decay});
  }
  TORCH_CHECK(false, "unknown optimizer");
}

}  // namespace

Optimizer::Optimizer(std::vector<at::Tensor> parameters, const OptimizerConfig& config)
    : kind_(config.kind), rule_(make_rule(std::move(parameters), config)) {}

void Optimizer::step(double learning_rate) {
  std::visit([&](auto& rule) { rule.step(learning_rate); }, rule_);
}

void Optimizer::zero_grad() {
  std::visit([](auto& rule) { rule.zero_grad(); }, rule_);
}

const std::vector<at::Tensor>& Optimizer::parameters() const {
  return std::visit(
      [](const auto& rule) -> const std::vector<at::Tensor>& { return rule.parameters(); }, rule_);
}

OptimizerState Optimizer::state() const {
  return std::visit([](const auto& rule) { return rule.state(); }, rule_);
}

void Optimizer::load_state(const OptimizerState& state) {
  std::visit([&](auto& rule) { rule.load_state(state); }, rule_);
}

int64_t Optimizer::state_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : state()) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

std::optional<std::string> Optimizer::note() const {
  if (kind_ != OptimizerKind::paged_adamw_8bit) return std::nullopt;
  const bool pages = std::ranges::any_of(
      parameters(), [](const at::Tensor& parameter) { return can_page(parameter.device()); });
  if (!pages) {
    return "optim: paged_adamw_8bit does what adamw_8bit does on a CPU: the states are in host "
           "memory already";
  }
  return fmt::format(
      "optim: paged_adamw_8bit: the states of {} of {} tensors (those of at least {} numbers) lie "
      "in managed memory, whose pages the driver moves when the device's memory is short",
      std::get<AdamW8bit>(rule_).num_paged(), parameters().size(), kMinPagedElements);
}

}  // namespace leash
