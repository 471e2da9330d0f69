// Macros, call blocks and {% generation %}.
#include <fmt/format.h>

#include "models/jinja/interpreter.h"

namespace leash::jinja {
namespace {

Value take_keyword(Arguments& arguments, const std::string& name) {
  for (auto at = arguments.named.begin(); at != arguments.named.end(); ++at) {
    if (at->first != name) continue;
    Value value = std::move(at->second);
    arguments.named.erase(at);
    return value;
  }
  return {};
}

Value about_macro(Runtime& runtime, const Callable& callable, bool named) {
  std::vector<Value> names;
  for (const ExpressionPtr& parameter : callable.parameters) names.emplace_back(parameter->name);
  std::vector<std::pair<Value, Value>> about;
  about.emplace_back(Value("name"), named ? Value(callable.name) : Value(None{}));
  about.emplace_back(Value("arguments"), make_tuple(runtime, std::move(names)));
  about.emplace_back(Value("catch_kwargs"), callable.uses_kwargs);
  about.emplace_back(Value("catch_varargs"), callable.uses_varargs);
  about.emplace_back(Value("caller"), callable.uses_caller);
  return make_dict(runtime, std::move(about));
}

}  // namespace

Value Interpreter::macro(const Callable& callable, const FramePtr& frame, bool named) {
  keep(frame);
  return FunctionPtr(std::make_shared<Function>(Function{
      .name = callable.name,
      .call = [this, &callable, frame](
                  Runtime&, Arguments given) { return invoke(callable, frame, std::move(given)); },
      .about = about_macro(runtime_, callable, named)}));
}

// Binds as Jinja2's Macro.__call__ does.
Value Interpreter::invoke(const Callable& c, const FramePtr& outer, Arguments given) {
  const auto frame = std::make_shared<Frame>();
  frame->parent = outer;
  frame->slots.resize(static_cast<size_t>(c.slots));
  runtime_.budget.charge(c.slots + 4);
  const auto slot = [&](int at) -> Value& { return frame->slots[static_cast<size_t>(at)]; };
  const size_t count = c.parameters.size();
  std::vector<Value> values(
      given.positional.begin(),
      given.positional.begin() + static_cast<int64_t>(std::min(count, given.positional.size())));
  bool found_caller = values.size() == count && c.explicit_caller;
  for (size_t i = values.size(); i < count; ++i) {
    values.push_back(take_keyword(given, c.parameters[i]->name));
    found_caller = found_caller || c.parameters[i]->name == "caller";
  }
  if (c.uses_caller && !found_caller && c.caller_slot >= 0) {
    Value caller = take_keyword(given, "caller");
    const bool none = caller.missing() || caller.none();
    slot(c.caller_slot) = none ? undefined("No caller defined") : std::move(caller);
  }
  if (c.uses_kwargs) {
    std::vector<std::pair<Value, Value>> rest;
    for (auto& [name, value] : given.named) rest.emplace_back(Value(name), value);
    slot(c.kwargs_slot) = make_dict(runtime_, std::move(rest));
  } else if (!given.named.empty()) {
    throw Failure(fmt::format("macro '{}' takes no keyword argument '{}'", c.name,
                              given.named.front().first));
  }
  if (c.uses_varargs) {
    std::vector<Value> rest(
        given.positional.begin() + static_cast<int64_t>(std::min(count, given.positional.size())),
        given.positional.end());
    slot(c.varargs_slot) = make_tuple(runtime_, std::move(rest));
  } else if (given.positional.size() > count) {
    throw Failure(fmt::format("macro '{}' takes not more than {} argument(s)", c.name, count));
  }
  for (size_t i = 0; i < count; ++i) at(c.parameters[i]->reference, frame) = values[i];
  enter(c.scope, frame);
  const size_t without = count - c.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    Value& value = at(c.parameters[i]->reference, frame);
    if (!value.missing()) continue;
    value = i < without
                ? undefined(fmt::format("parameter '{}' was not provided", c.parameters[i]->name))
                : evaluate(*c.defaults[i - without], frame);
  }
  return make_text(runtime_, run_body(c, frame));
}

Text Interpreter::run_body(const Callable& callable, const FramePtr& frame) {
  const int line = runtime_.line;
  const Text* buffer = std::exchange(buffer_, nullptr);
  Output output;
  execute(callable.body, frame, output);
  buffer_ = buffer;
  runtime_.line = line;
  return output.text.finish();
}

void Interpreter::call_block(const Statement& s, const FramePtr& frame, Output& output) {
  const Value caller = macro(s.callable, frame, false);
  print_text(call_expression(*s.value, frame, &caller), output);
}

void Interpreter::generation(const Statement& s, const FramePtr& frame, Output& output) {
  const auto own = std::make_shared<Frame>();
  own->parent = frame;
  own->slots.resize(static_cast<size_t>(s.callable.slots));
  enter(s.callable.scope, own);
  const size_t begin = output.text.size();
  output.text.add(run_body(s.callable, own));
  if (output.generated != nullptr) output.generated->push_back({begin, output.text.size()});
}

}  // namespace leash::jinja
