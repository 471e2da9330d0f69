#include "models/jinja/interpreter.h"

#include <fmt/format.h>

#include "models/jinja/repr.h"

namespace leash::jinja {

Text Interpreter::render(const Program& parsed, std::vector<TextRange>& generated) {
  const auto frame = std::make_shared<Frame>();
  frame->slots.resize(static_cast<size_t>(parsed.slots));
  enter(parsed.scope, frame);
  Output output{.text = {}, .generated = &generated};
  execute(parsed.body, frame, output);
  return output.text.finish();
}

Interpreter::Flow Interpreter::execute(const Block& body, const FramePtr& frame, Output& output) {
  const Deeper deeper(runtime_.budget);
  for (const StatementPtr& statement : body) {
    runtime_.budget.charge(1);
    runtime_.line = statement->line;
    const Flow flow = execute(*statement, frame, output);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::execute(const Statement& s, const FramePtr& frame, Output& output) {
  switch (s.kind) {
    case Statement::Kind::output:
      print(evaluate(*s.value, frame), output);
      return Flow::on;
    case Statement::Kind::loop:
      return loop(s, frame, output);
    case Statement::Kind::branch:
      return branch(s, frame, output);
    case Statement::Kind::set:
      check_spaces(*s.target, frame);
      assign(*s.target, evaluate(*s.value, frame), frame);
      return Flow::on;
    case Statement::Kind::set_block:
    case Statement::Kind::filter_block:
      return capture(s, frame, output);
    case Statement::Kind::macro:
      at(s.target->reference, frame) = macro(s.callable, frame, true);
      return Flow::on;
    case Statement::Kind::call_block:
      call_block(s, frame, output);
      return Flow::on;
    case Statement::Kind::generation:
      generation(s, frame, output);
      return Flow::on;
    case Statement::Kind::with:
      return with(s, frame, output);
    case Statement::Kind::leave:
      return Flow::leave;
    case Statement::Kind::next:
      return Flow::next;
  }
  return Flow::on;
}

void Interpreter::print(const Value& value, Output& output) {
  if (const Text* text = value.text()) {
    runtime_.budget.charge_bytes(text->bytes.size());
    output.text.add(*text);
  } else {
    output.text.add(to_text(runtime_, value));
  }
}

// What blocks give has to be a text already.
void Interpreter::print_text(const Value& value, Output& output) {
  if (value.text() == nullptr) {
    throw Failure(fmt::format("expected str instance, {} found", type_name(value)));
  }
  print(value, output);
}

Interpreter::Flow Interpreter::branch(const Statement& s, const FramePtr& frame, Output& output) {
  return execute(holds(*s.value, frame) ? s.body : s.other, frame, output);
}

// {% set x %}…{% endset %} and {% filter f %}…{% endfilter %}
Interpreter::Flow Interpreter::capture(const Statement& s, const FramePtr& frame, Output& output) {
  enter(s.scope, frame);
  Output inner;
  const Flow flow = execute(s.body, frame, inner);
  if (flow != Flow::on) return flow;
  const Text text = inner.text.finish();
  Value value;
  if (s.value != nullptr) {
    const Text* outer = std::exchange(buffer_, &text);
    value = evaluate(*s.value, frame);
    buffer_ = outer;
  } else {
    value = make_text(runtime_, text);
  }
  if (s.kind == Statement::Kind::set_block) {
    check_spaces(*s.target, frame);
    assign(*s.target, value, frame);
  } else {
    print_text(value, output);
  }
  leave(s.scope, frame);
  return Flow::on;
}

Interpreter::Flow Interpreter::with(const Statement& s, const FramePtr& frame, Output& output) {
  enter(s.scope, frame);
  for (size_t i = 0; i < s.targets.size(); ++i) {
    assign(*s.targets[i], evaluate(*s.values[i], frame), frame);
  }
  const Flow flow = execute(s.body, frame, output);
  leave(s.scope, frame);
  return flow;
}

void Interpreter::check_spaces(const Expression& target, const FramePtr& frame) {
  if (target.kind == Expression::Kind::space_attribute) {
    const bool space = target.reference.slot >= 0 && at(target.reference, frame).is<SpacePtr>();
    if (!space) throw Failure("cannot assign attribute on non-namespace object");
  }
  for (const ExpressionPtr& part : target.parts) check_spaces(*part, frame);
}

void Interpreter::assign(const Expression& target, const Value& value, const FramePtr& frame) {
  if (target.kind == Expression::Kind::name) {
    at(target.reference, frame) = value;
    return;
  }
  if (target.kind == Expression::Kind::space_attribute) {
    if (target.attribute.starts_with('_')) {
      throw Failure(
          fmt::format("Chat templates cannot store underscore-prefixed attributes on a "
                      "namespace, but got '{}'. Please rename the attribute.",
                      target.attribute));
    }
    const auto* space = at(target.reference, frame).get<SpacePtr>();
    if (space == nullptr) throw Failure("cannot assign attribute on non-namespace object");
    runtime_.budget.charge(std::ssize((*space)->attributes));
    (*space)->set(target.attribute, value);
    return;
  }
  const std::vector<Value> items = items_of(runtime_, value);
  if (items.size() != target.parts.size()) {
    throw Failure(
        fmt::format("{} values to unpack (expected {})", items.size(), target.parts.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], frame);
}

void Interpreter::enter(const Scope& scope, const FramePtr& frame) {
  runtime_.budget.charge(std::ssize(scope));
  for (const ScopeLoad& load : scope) {
    Value& slot = frame->slots[static_cast<size_t>(load.slot)];
    switch (load.kind) {
      case ScopeLoad::Kind::parameter:
        break;
      case ScopeLoad::Kind::resolve:
        slot = lookup(load.name);
        break;
      case ScopeLoad::Kind::alias:
        slot = Value(at(load.from, frame));
        break;
      case ScopeLoad::Kind::undefined:
        slot = Value();
        break;
    }
  }
}

void Interpreter::leave(const Scope& scope, const FramePtr& frame) {
  for (const ScopeLoad& load : scope) frame->slots[static_cast<size_t>(load.slot)] = Value();
}

Value& Interpreter::at(const Reference& reference, const FramePtr& frame) {
  Frame* found = frame.get();
  for (int i = 0; i < reference.hops; ++i) found = found->parent.get();
  return found->slots[static_cast<size_t>(reference.slot)];
}

Value Interpreter::lookup(const std::string& name) const {
  Value value = variable_(name);
  if (!value.missing()) return value;
  const Value* known = global(name);
  return known != nullptr ? *known : Value();
}

void Interpreter::keep(const FramePtr& frame) {
  if (std::exchange(frame->kept, true)) return;
  runtime_.budget.charge(std::ssize(frame->slots) + 4);
  runtime_.frames.push_back(frame);
}

}  // namespace leash::jinja
