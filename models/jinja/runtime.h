// One rendering: what it may still cost, and the things that live as long as it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/jinja/budget.h"
#include "models/jinja/value.h"

namespace leash::jinja {

struct Frame;

struct Runtime {
  Budget budget;
  int line = 1;  // of the template, for messages
  std::chrono::system_clock::time_point now = std::chrono::system_clock::now();
  // Namespaces and the variables of macros can point to each other in a circle; they are emptied
  // when the rendering ends.
  std::vector<SpacePtr> spaces;
  std::vector<std::shared_ptr<Frame>> frames;
};

Value call(Runtime& runtime, const Value& callee, Arguments arguments);
// environment.getattr and environment.getitem.
Value attribute(Runtime& runtime, const Value& object, std::string_view name);
Value item(Runtime& runtime, const Value& object, const Value& key);
// object[start:stop:step]; each is an int or none.
Value slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
            const Value& step);

Value apply_filter(Runtime& runtime, const std::string& name, Arguments arguments);
bool apply_test(Runtime& runtime, const std::string& name, Arguments arguments);
bool is_filter(const std::string& name);
bool is_test(const std::string& name);
// Null where there is none.
const Value* global(const std::string& name);

// The arguments by name; missing ones are missing Values. Failure where Python has a TypeError.
std::vector<Value> bind_arguments(const std::string& function, Arguments arguments,
                                  const std::vector<std::string>& names, size_t required);
// As bind gives them, else Failure.
int64_t int_argument(const std::string& function, const Value& value);
const Text& text_argument(const std::string& function, const Value& value);

}  // namespace leash::jinja
