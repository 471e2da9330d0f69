#define PCRE2_CODE_UNIT_WIDTH 8
#include "rl/answers/pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include "models/errors.h"
#include "models/printable.h"
#include "models/text/utf8.h"

namespace leash {

struct Pattern::Code {
  std::string pattern;
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};
};

namespace {

// Steps of one match: what an expression that people use never needs in an answer.
constexpr uint32_t kMostSteps = 5'000'000;
constexpr uint32_t kMostKibibytes = 64 * 1024;

std::string pcre2_text(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

class Matcher {
 public:
  Matcher(const pcre2_code* code, const std::string& pattern, std::string_view text)
      : code_(code), pattern_(pattern), text_(text) {
    if (data_ == nullptr || context_ == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context_.get(), kMostSteps);
    pcre2_set_heap_limit(context_.get(), kMostKibibytes);
  }

  // Where the next match ends that begins at `start` or later; an empty one is not taken twice.
  std::optional<size_t> next(size_t start, bool not_empty) {
    const uint32_t options = PCRE2_NO_UTF_CHECK | (not_empty ? PCRE2_NOTEMPTY_ATSTART : 0);
    const int rc = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(),
                               start, options, data_.get(), context_.get());
    if (rc == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (rc >= 0) return pcre2_get_ovector_pointer(data_.get())[1];
    throw std::runtime_error(fmt::format("the pattern `{}` could not be matched with an answer: {}",
                                         printable(pattern_), pcre2_text(rc)));
  }

 private:
  const pcre2_code* code_;
  const std::string& pattern_;
  std::string_view text_;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data_{
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free};
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context_{
      pcre2_match_context_create(nullptr), &pcre2_match_context_free};
};

}  // namespace

Pattern::Pattern(const std::string& pattern) {
  auto code = std::make_shared<Code>();
  code->pattern = pattern;
  if (!is_valid_utf8(pattern)) throw ConfigError("the pattern is not UTF-8");
  int error = 0;
  PCRE2_SIZE offset = 0;
  code->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                                 nullptr));
  if (code->code == nullptr) {
    throw ConfigError(fmt::format("the pattern `{}` is not understood at byte {}: {}",
                                  printable(pattern), offset, pcre2_text(error)));
  }
  code_ = std::move(code);
}

bool Pattern::found_in(std::string_view text) const {
  std::string storage;
  return Matcher(code_->code.get(), code_->pattern, replace_invalid(text, storage))
      .next(0, false)
      .has_value();
}

int64_t Pattern::count_in(std::string_view text) const {
  std::string storage;
  const std::string_view valid = replace_invalid(text, storage);
  Matcher matcher(code_->code.get(), code_->pattern, valid);
  int64_t count = 0;
  size_t start = 0;
  for (bool again = false; const auto end = matcher.next(start, again);) {
    ++count;
    again = *end == start;
    start = *end;
  }
  return count;
}

}  // namespace leash
