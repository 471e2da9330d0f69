// PCRE2 behind a small face.
#include "models/lora/python_pattern.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "models/errors.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace leash {
namespace {

std::string error_text(int code) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(code, text, sizeof(text)) < 0) return fmt::format("error {}", code);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

PythonPattern::PythonPattern(const std::string& pattern, std::string setting)
    : setting_(std::move(setting)) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    throw ConfigError(fmt::format("{}: `{}` is not a regular expression: {} (at character {})",
                                  setting_, pattern, error_text(error), offset));
  }
  code_ = std::shared_ptr<const void>(
      code, [](void* held) { pcre2_code_free(static_cast<pcre2_code*>(held)); });
}

bool PythonPattern::matches_whole(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(
      pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
  const int result = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                                 PCRE2_ANCHORED | PCRE2_ENDANCHORED, match.get(), nullptr);
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  throw ConfigError(
      fmt::format("{}: matching `{}` failed: {}", setting_, text, error_text(result)));
}

}  // namespace leash
