// All settings of the reference: what the policy is kept close to.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "models/families/model_config.h"
#include "models/fields.h"

namespace leash {

enum class ReferenceKind { adapter_off, adapter, model, follow };
template <>
struct EnumNames<ReferenceKind> {
  static constexpr std::pair<ReferenceKind, std::string_view> values[] = {
      {ReferenceKind::adapter_off, "adapter_off"},
      {ReferenceKind::adapter, "adapter"},
      {ReferenceKind::model, "model"},
      {ReferenceKind::follow, "follow"}};
};
struct ReferenceConfig {
  // Default: the base without an adapter, or with lora.path a frozen copy of that adapter.
  std::optional<ReferenceKind> kind;
  std::optional<ModelPath> path;
  double mixup_alpha = 0.6;  // TRL: ref_model_mixup_alpha
  int64_t sync_steps = 512;  // TRL: ref_model_sync_steps
};
template <class Config, class Visitor>
requires Describes<Config, ReferenceConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "adapter_off (the base), adapter (a frozen adapter; default with lora.path: a copy of that "
        "one), model (a checkpoint of its own), follow (a copy of the policy that comes after it)");
  visit("path", c.path, "of the adapter folder or the checkpoint");
  visit("mixup_alpha", c.mixup_alpha,
        "follow: the policy's part in the new reference; the old one has the rest",
        Range{.min = 0, .max = 1, .min_open = true});
  visit("sync_steps", c.sync_steps, "follow: iterations from one mixing to the next", at_least(1));
}

}  // namespace leash
