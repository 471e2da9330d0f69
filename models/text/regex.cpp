// PCRE2 in UTF mode behind Regex. Work is bounded: steps within one match, and the time of all.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/core.h>
#include <pcre2.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <new>

#include "models/errors.h"
#include "models/text/regex_split.h"
#include "models/text/utf8.h"

namespace leash {

struct Regex::Code {
  std::string pattern;
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};
};

namespace {

std::string pcre2_message(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// Steps of one match (and so many more for each byte), and KiB of its memory: no pattern of a
// tokenizer that people use comes near, while a hostile one may want years.
constexpr uint32_t kMaxSteps = 1'000'000;
constexpr size_t kStepsPerByte = 8;
constexpr uint32_t kMaxHeap = 128 * 1024;
// CPU seconds for all matches in a text: published expressions take a tenth of a microsecond for
// each byte. Looking at the clock takes as long as some matches do.
constexpr double kSeconds = 2;
constexpr double kSecondsPerByte = 2e-6;
constexpr size_t kSearchesPerCheck = 256;
// So many places are tried before the clock is looked at again.
constexpr size_t kWindow = 64;

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// What a match writes into, one for each thread.
struct Workspace {
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data{
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free};
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context{
      pcre2_match_context_create(nullptr), &pcre2_match_context_free};

  Workspace() {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    pcre2_set_heap_limit(context.get(), kMaxHeap);
  }
};

Workspace& workspace() {
  thread_local Workspace one;
  return one;
}

}  // namespace

Regex::Regex(const std::string& pattern) {
  auto code = std::make_shared<Code>();
  code->pattern = pattern;
  const std::string translated = oniguruma_to_pcre2(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Multi-line, since ^ and $ always are in Oniguruma's (Ruby's) syntax.
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                           PCRE2_NO_AUTO_CAPTURE | PCRE2_USE_OFFSET_LIMIT;
  code->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 options, &error, &offset, nullptr));
  if (code->code == nullptr) {
    throw FormatError(fmt::format("the regular expression '{}' is not understood: {}", pattern,
                                  pcre2_message(error)));
  }
  // Without a just-in-time compiler (a hardened kernel may forbid it) the interpreter runs.
  pcre2_jit_compile(code->code.get(), PCRE2_JIT_COMPLETE);
  code_ = std::move(code);
}

Regex Regex::literal(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    if (std::string_view(R"(\^$.|?*+()[]{}-)").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return Regex(pattern);
}

Regex::Matches::Matches(const Regex& regex, std::string_view text) : regex_(regex), text_(text) {}

void Regex::Matches::check_time() {
  const double now = thread_seconds();
  if (!deadline_) deadline_ = now + kSeconds + kSecondsPerByte * static_cast<double>(text_.size());
  if (now < *deadline_) return;
  throw FormatError(fmt::format(
      "the tokenizer's regular expression '{}' failed: it takes too long in a text of {} bytes",
      regex_.code_->pattern, text_.size()));
}

std::optional<TextSpan> Regex::Matches::search(size_t start) {
  Workspace& space = workspace();
  const auto steps = std::min<uint64_t>(kMaxSteps + kStepsPerByte * text_.size(), UINT32_MAX);
  pcre2_set_match_limit(space.context.get(), static_cast<uint32_t>(steps));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  while (true) {
    if (searches_++ % kSearchesPerCheck == kSearchesPerCheck - 1) check_time();
    // Beginning no further than here, though a match may look at all that follows.
    const size_t limit = std::min(start + kWindow, text_.size());
    pcre2_set_offset_limit(space.context.get(), limit);
    const auto match = [&](uint32_t options) {
      return pcre2_match(regex_.code_->code.get(), subject, text_.size(), start,
                         PCRE2_NO_UTF_CHECK | options, space.data.get(), space.context.get());
    };
    int rc = match(0);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = match(PCRE2_NO_JIT);  // that one uses the heap
    if (rc >= 0) {
      const PCRE2_SIZE* span = pcre2_get_ovector_pointer(space.data.get());
      return TextSpan{span[0], span[1]};
    }
    if (rc != PCRE2_ERROR_NOMATCH) {
      throw FormatError(fmt::format("the tokenizer's regular expression '{}' failed: {}",
                                    regex_.code_->pattern, pcre2_message(rc)));
    }
    if (limit >= text_.size()) return std::nullopt;
    check_time();
    start = limit;
    while (start > 0 && (static_cast<uint8_t>(text_[start]) & 0xC0) == 0x80) --start;
  }
}

std::optional<TextSpan> Regex::Matches::next() {
  while (start_ <= text_.size()) {
    const auto found = search(start_);
    if (!found) {
      start_ = text_.size() + 1;
      break;
    }
    if (found->begin == found->end && last_end_ == found->end) {
      start_ += start_ < text_.size() ? first_char(text_.substr(start_)).length : 1;
      continue;
    }
    start_ = found->end;
    last_end_ = found->end;
    return found;
  }
  return std::nullopt;
}

}  // namespace leash
