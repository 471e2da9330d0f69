// `loop`: where a for stands.
#pragma once

#include <optional>

#include "models/jinja/value.h"

namespace leash::jinja {

LoopPtr make_loop(Runtime& runtime, const Value& items, int64_t depth0);
// The next item; none behind the last.
std::optional<Value> next_turn(Runtime& runtime, Loop& loop);
int64_t loop_length(Runtime& runtime, Loop& loop);
// A missing Value where it has no such attribute.
Value loop_attribute(Runtime& runtime, const LoopPtr& loop, std::string_view name);
Value cycler_attribute(const CyclerPtr& cycler, std::string_view name);

}  // namespace leash::jinja
