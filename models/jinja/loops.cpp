// {% for %}
#include "models/jinja/interpreter.h"
#include "models/jinja/loop.h"

namespace leash::jinja {

Interpreter::Flow Interpreter::loop(const Statement& s, const FramePtr& frame, Output& output) {
  const Value items = evaluate(*s.value, frame);
  if (s.recursive) {
    output.text.add(render_recursive(s, items, frame, 0));
    return Flow::on;
  }
  return run_loop(s, items, frame, output, 0);
}

Interpreter::Flow Interpreter::run_loop(const Statement& s, const Value& items,
                                        const FramePtr& frame, Output& output, int64_t depth) {
  const Value source = s.test != nullptr ? filtered(s, items, frame) : items;
  LoopPtr state;
  IteratorPtr plain;
  if (s.extended) {
    state = make_loop(runtime_, source, depth);
    if (s.recursive) {
      // The frame holds the loop, which holds the function that holds the frame around.
      keep(frame);
      keep(frame->parent);
      state->recurse = [this, &s, outer = frame->parent](Runtime& runtime, const Value& inner,
                                                         int64_t at_depth) {
        return make_text(runtime, render_recursive(s, inner, outer, at_depth));
      };
    }
  } else {
    plain = iterate(runtime_, source);
  }
  bool empty = true;
  while (true) {
    runtime_.budget.charge(1);
    const auto item = state != nullptr ? next_turn(runtime_, *state) : plain->next(runtime_);
    if (!item) break;
    assign(*s.target, *item, frame);
    if (state != nullptr) frame->slots[static_cast<size_t>(s.loop_slot)] = Value(state);
    enter(s.scope, frame);
    const Flow flow = execute(s.body, frame, output);
    if (flow == Flow::leave) break;
    // Jinja2 notes that the loop was not empty behind the body.
    if (flow == Flow::on) empty = false;
  }
  leave(s.scope, frame);
  if (!s.has_else || !empty) return Flow::on;
  enter(s.else_scope, frame);
  const Flow flow = execute(s.other, frame, output);
  leave(s.else_scope, frame);
  return flow;
}

// for … if: asked for each item when it is its turn.
Value Interpreter::filtered(const Statement& s, const Value& items, const FramePtr& frame) {
  keep(frame);
  auto own = std::make_shared<Frame>();
  own->parent = frame;
  own->slots.resize(static_cast<size_t>(s.test_slots));
  keep(own);
  return make_iterator("generator", nesting_of(items),
                       [this, &s, own, source = IteratorPtr(),
                        items](Runtime& runtime) mutable -> std::optional<Value> {
                         if (source == nullptr) {
                           enter(s.test_scope, own);
                           source = iterate(runtime, items);
                         }
                         while (auto item = source->next(runtime)) {
                           assign(*s.targets[0], *item, own);
                           if (holds(*s.test, own)) return item;
                         }
                         return std::nullopt;
                       });
}

Text Interpreter::render_recursive(const Statement& s, const Value& items, const FramePtr& outer,
                                   int64_t depth) {
  const auto frame = std::make_shared<Frame>();
  frame->parent = outer;
  frame->slots.resize(static_cast<size_t>(s.slots));
  Output output;
  run_loop(s, items, frame, output, depth);
  return output.text.finish();
}

}  // namespace leash::jinja
