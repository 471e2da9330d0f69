// What `leash export` and `run.export` write.
#pragma once

#include <string_view>
#include <utility>

#include "models/fields.h"

namespace leash {

enum class ExportKind { hf, gguf, gguf_adapter, peft };
template <>
struct EnumNames<ExportKind> {
  static constexpr std::pair<ExportKind, std::string_view> values[] = {
      {ExportKind::hf, "hf"},
      {ExportKind::gguf, "gguf"},
      {ExportKind::gguf_adapter, "gguf-adapter"},
      {ExportKind::peft, "peft"}};
};

}  // namespace leash
