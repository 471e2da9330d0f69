// Chat templates: Jinja2 as transformers sets it up (ImmutableSandboxedEnvironment with
// trim_blocks, lstrip_blocks, loop controls and {% generation %}), rendered by our own interpreter.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/errors.h"
#include "models/jinja/value.h"

namespace leash::jinja {

struct Program;

// The template is wrong, uses what is not supported, or raised: then the message is what it raised.
class TemplateError : public FormatError {
  using FormatError::FormatError;
};

struct Rendered {
  std::string text;
  std::vector<TextRange> foreign;    // bytes that came from values marked as foreign
  std::vector<TextRange> generated;  // bytes inside {% generation %}
};

// What a template finds under a name; a missing Value where it finds nothing.
using Variables = std::function<Value(const std::string& name)>;

class Template {
 public:
  // Parses once. TemplateError.
  explicit Template(std::string_view source);
  // TemplateError, also where it would take too many steps, too much text or too deep recursion.
  // `now` is what strftime_now tells, in local time.
  Rendered render(const Variables& variables, std::chrono::system_clock::time_point now =
                                                  std::chrono::system_clock::now()) const;

 private:
  std::shared_ptr<const Program> program_;
};

}  // namespace leash::jinja
