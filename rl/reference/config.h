// All settings of the reference: what the policy is kept close to.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "models/families/model_config.h"
#include "models/fields.h"

namespace leash {

enum class ReferenceKind { adapter_off, adapter, model };
template <>
struct EnumNames<ReferenceKind> {
  static constexpr std::pair<ReferenceKind, std::string_view> values[] = {
      {ReferenceKind::adapter_off, "adapter_off"},
      {ReferenceKind::adapter, "adapter"},
      {ReferenceKind::model, "model"}};
};
struct ReferenceConfig {
  // Default: the base without an adapter, or with lora.path a frozen copy of that adapter.
  std::optional<ReferenceKind> kind;
  std::optional<ModelPath> path;
};
template <class Config, class Visitor>
requires Describes<Config, ReferenceConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("kind", c.kind,
        "adapter_off (the base), adapter (a frozen adapter; default with lora.path: a copy of that "
        "one), model (a checkpoint of its own)");
  visit("path", c.path, "of the adapter folder or the checkpoint");
}

}  // namespace leash
