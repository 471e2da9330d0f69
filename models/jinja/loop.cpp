#include "models/jinja/loop.h"

#include "models/jinja/compare.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

// A missing Value behind the last item.
const Value& look_ahead(Runtime& runtime, Loop& loop) {
  if (!loop.ahead) loop.ahead = loop.items->next(runtime).value_or(Value());
  return *loop.ahead;
}

Value method(const char* name, int nesting, std::function<Value(Runtime&, Arguments)> call) {
  return FunctionPtr(std::make_shared<Function>(
      Function{.name = name, .call = std::move(call), .nesting = nesting}));
}

Value cycle(const LoopPtr& loop) {
  return method("cycle", loop->nesting, [loop](Runtime&, Arguments arguments) -> Value {
    if (!arguments.named.empty()) throw Failure("cycle() takes no keyword arguments");
    if (arguments.positional.empty()) throw Failure("no items for cycling given");
    return arguments.positional[static_cast<size_t>(loop->index0) % arguments.positional.size()];
  });
}

Value changed(const LoopPtr& loop) {
  return method("changed", loop->nesting, [loop](Runtime& runtime, Arguments arguments) -> Value {
    if (!arguments.named.empty()) throw Failure("changed() takes no keyword arguments");
    Value now = make_tuple(runtime, std::move(arguments.positional));
    if (!loop->changed.missing() && equal(runtime, loop->changed, now)) return false;
    loop->changed = std::move(now);
    return true;
  });
}

}  // namespace

LoopPtr make_loop(Runtime& runtime, const Value& items, int64_t depth0) {
  runtime.budget.charge(4);
  auto loop = std::make_shared<Loop>();
  if (!items.is<LoopPtr>()) loop->length = length_of(runtime, items);
  loop->items = iterate(runtime, items);
  loop->depth0 = depth0;
  loop->nesting = loop->items->nesting + 1;
  if (loop->nesting > Budget::kNesting) throw Failure("values are nested too deeply");
  return loop;
}

std::optional<Value> next_turn(Runtime& runtime, Loop& loop) {
  std::optional<Value> item;
  if (loop.ahead && !loop.ahead->missing()) {
    item = *std::exchange(loop.ahead, std::nullopt);
  } else {
    item = loop.items->next(runtime);
  }
  if (!item) return std::nullopt;
  ++loop.index0;
  loop.before = std::exchange(loop.current, *item);
  return item;
}

int64_t loop_length(Runtime& runtime, Loop& loop) {
  if (loop.length) return *loop.length;
  std::vector<Value> rest = items_of(runtime, Value(loop.items));
  const bool ahead = loop.ahead && !loop.ahead->missing();
  loop.length = std::ssize(rest) + loop.index0 + 1 + (ahead ? 1 : 0);
  loop.items = iterate(runtime, make_list(runtime, std::move(rest)));
  return *loop.length;
}

Value loop_attribute(Runtime& runtime, const LoopPtr& loop, std::string_view name) {
  if (name == "index0") return loop->index0;
  if (name == "index") return loop->index0 + 1;
  if (name == "length") return loop_length(runtime, *loop);
  if (name == "revindex0") return loop_length(runtime, *loop) - loop->index0 - 1;
  if (name == "revindex") return loop_length(runtime, *loop) - loop->index0;
  if (name == "depth0") return loop->depth0;
  if (name == "depth") return loop->depth0 + 1;
  if (name == "first") return loop->index0 == 0;
  if (name == "last") return look_ahead(runtime, *loop).missing();
  if (name == "previtem") {
    return loop->index0 == 0 ? undefined("there is no previous item") : loop->before;
  }
  if (name == "nextitem") {
    const Value& next = look_ahead(runtime, *loop);
    return next.missing() ? undefined("there is no next item") : next;
  }
  if (name == "cycle") return cycle(loop);
  if (name == "changed") return changed(loop);
  return {};
}

Value cycler_attribute(const CyclerPtr& cycler, std::string_view name) {
  if (name == "current") return cycler->items[cycler->at];
  const int nesting = cycler->nesting;
  if (name == "next") {
    return method("next", nesting, [cycler](Runtime&, Arguments) -> Value {
      const size_t at = std::exchange(cycler->at, (cycler->at + 1) % cycler->items.size());
      return cycler->items[at];
    });
  }
  if (name == "reset") {
    return method("reset", nesting, [cycler](Runtime&, Arguments) -> Value {
      cycler->at = 0;
      return None{};
    });
  }
  return {};
}

}  // namespace leash::jinja
