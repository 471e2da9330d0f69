// Renders a parsed template.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/jinja/ast.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {

// The variables of one function while it runs. A missing Value is a name without one.
struct Frame {
  std::shared_ptr<Frame> parent;
  std::vector<Value> slots;
  bool kept = false;  // in Runtime::frames
};
using FramePtr = std::shared_ptr<Frame>;

// Where what is rendered goes.
struct Output {
  TextBuilder text;
  std::vector<TextRange>* generated = nullptr;  // {% generation %}, of the outermost output
};

class Interpreter {
 public:
  // `variable` gives what the caller passed under a name; missing where it did not.
  using Variable = std::function<Value(const std::string& name)>;
  Interpreter(Runtime& runtime, Variable variable)
      : runtime_(runtime), variable_(std::move(variable)) {}

  Text render(const Program& parsed, std::vector<TextRange>& generated);

 private:
  enum class Flow { on, leave, next };
  Flow execute(const Block& body, const FramePtr& frame, Output& output);
  Flow execute(const Statement& s, const FramePtr& frame, Output& output);
  void print(const Value& value, Output& output);
  void print_text(const Value& value, Output& output);
  Flow branch(const Statement& s, const FramePtr& frame, Output& output);
  Flow capture(const Statement& s, const FramePtr& frame, Output& output);
  Flow with(const Statement& s, const FramePtr& frame, Output& output);
  void assign(const Expression& target, const Value& value, const FramePtr& frame);
  void check_spaces(const Expression& target, const FramePtr& frame);

  // Loops (loops.cpp)
  Flow loop(const Statement& s, const FramePtr& frame, Output& output);
  Flow run_loop(const Statement& s, const Value& items, const FramePtr& frame, Output& output,
                int64_t depth);
  Value filtered(const Statement& s, const Value& items, const FramePtr& frame);
  Text render_recursive(const Statement& s, const Value& items, const FramePtr& outer,
                        int64_t depth);

  // Functions (macros.cpp)
  Value macro(const Callable& callable, const FramePtr& frame, bool named);
  Value invoke(const Callable& callable, const FramePtr& outer, Arguments arguments);
  void call_block(const Statement& s, const FramePtr& frame, Output& output);
  void generation(const Statement& s, const FramePtr& frame, Output& output);
  Text run_body(const Callable& callable, const FramePtr& frame);

  // Variables
  void enter(const Scope& scope, const FramePtr& frame);
  static void leave(const Scope& scope, const FramePtr& frame);
  static Value& at(const Reference& reference, const FramePtr& frame);
  Value lookup(const std::string& name) const;
  void keep(const FramePtr& frame);

  // Expressions (expressions.cpp)
  Value evaluate(const Expression& e, const FramePtr& frame);
  Value evaluate_node(const Expression& e, const FramePtr& frame);
  bool holds(const Expression& e, const FramePtr& frame);
  Value name(const Expression& e, const FramePtr& frame);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& parts, const FramePtr& frame,
                                  size_t from = 0);
  Value dict(const Expression& e, const FramePtr& frame);
  Value slice_of(const Expression& e, const FramePtr& frame);
  Value compare(const Expression& e, const FramePtr& frame);
  Value concat(const Expression& e, const FramePtr& frame);
  Value call_expression(const Expression& e, const FramePtr& frame, const Value* caller);
  Arguments arguments(const Expression& e, const FramePtr& frame);

  Runtime& runtime_;
  Variable variable_;
  const Text* buffer_ = nullptr;  // what a block rendered, while its filters run
};

}  // namespace leash::jinja
