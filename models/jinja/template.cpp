#include "models/jinja/template.h"

#include <fmt/format.h>

#include "models/jinja/interpreter.h"
#include "models/jinja/parser.h"
#include "models/jinja/syntax_error.h"

namespace leash::jinja {
namespace {

// Whether all of it is UTF-8 that decodes to code points.
bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_char(text, at);
    std::string again;
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return false;
    append_char(again, c);
    if (again != text.substr(begin, at - begin)) return false;
  }
  return true;
}

TemplateError failed(int line, const char* what) {
  return TemplateError(fmt::format("the chat template, line {}: {}", line, what));
}

// Empties what points to each other in a circle.
class Rendering {
 public:
  Runtime runtime;

  Rendering() = default;
  ~Rendering() {
    for (const SpacePtr& space : runtime.spaces) space->attributes.clear();
    for (const FramePtr& frame : runtime.frames) frame->slots.clear();
  }
  Rendering(const Rendering&) = delete;
  Rendering& operator=(const Rendering&) = delete;
};

}  // namespace

Template::Template(std::string_view source) {
  if (!is_utf8(source)) throw TemplateError("the chat template is not valid UTF-8");
  try {
    program_ = std::make_shared<const Program>(parse_template(source));
  } catch (const SyntaxError& error) {
    throw failed(error.line(), error.what());
  }
}

Rendered Template::render(const Variables& variables,
                          std::chrono::system_clock::time_point now) const {
  Rendering rendering;
  rendering.runtime.now = now;
  Rendered result;
  try {
    Interpreter interpreter(rendering.runtime, variables);
    Text text = interpreter.render(*program_, result.generated);
    result.text = std::move(text.bytes);
    result.foreign = std::move(text.foreign);
  } catch (const Raised& raised) {
    throw TemplateError(raised.what());
  } catch (const Failure& failure) {
    throw failed(rendering.runtime.line, failure.what());
  }
  return result;
}

}  // namespace leash::jinja
