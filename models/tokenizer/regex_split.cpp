// PCRE2 in UTF mode behind Regex, and the five ways of splitting at matches.
#include "models/tokenizer/regex_split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/core.h>
#include <pcre2.h>

#include <cstdint>
#include <span>
#include <utility>

#include "models/errors.h"
#include "models/tokenizer/utf8.h"

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

// Steps of one match, and KiB of its memory: no pattern of a tokenizer that people use comes near,
// while a hostile one may want years.
constexpr uint32_t kMaxSteps = 10'000'000;
constexpr uint32_t kMaxHeap = 128 * 1024;

using Context = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;

Context limits() {
  Context context(pcre2_match_context_create(nullptr), &pcre2_match_context_free);
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), kMaxSteps);
  pcre2_set_heap_limit(context.get(), kMaxHeap);
  return context;
}

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

// A part of the text, and whether it separates.
struct Part {
  TextSpan span;
  bool separates = false;
};

std::vector<Part> cover(const Splitter& splitter, std::string_view text) {
  std::vector<Part> parts;
  size_t end = 0;
  for (const TextSpan& match : splitter.regex.matches(text)) {
    if (match.begin > end) parts.push_back({{end, match.begin}, splitter.invert});
    parts.push_back({match, !splitter.invert});
    end = match.end;
  }
  if (end < text.size()) parts.push_back({{end, text.size()}, splitter.invert});
  return parts;
}

// Neighbours of one kind become one part.
std::vector<Part> join_runs(std::span<const Part> parts) {
  std::vector<Part> joined;
  bool previous = false;
  for (const Part& part : parts) {
    if (part.separates == previous && !joined.empty()) {
      joined.back().span.end = part.span.end;
    } else {
      joined.push_back(part);
    }
    previous = part.separates;
  }
  return joined;
}

std::vector<Part> merge_with_previous(std::span<const Part> parts) {
  std::vector<Part> merged;
  bool previous = false;
  for (const Part& part : parts) {
    if (part.separates && !previous && !merged.empty()) {
      merged.back().span.end = part.span.end;
    } else {
      merged.push_back(part);
    }
    previous = part.separates;
  }
  return merged;
}

std::vector<Part> merge_with_next(std::span<const Part> parts) {
  std::vector<Part> merged;  // from right to left
  bool next = false;
  for (size_t i = parts.size(); i-- > 0;) {
    if (parts[i].separates && !next && !merged.empty()) {
      merged.back().span.begin = parts[i].span.begin;
    } else {
      merged.push_back(parts[i]);
    }
    next = parts[i].separates;
  }
  return {merged.rbegin(), merged.rend()};
}

}  // namespace

Regex::Regex(const std::string& pattern) {
  auto code = std::make_shared<Code>();
  code->pattern = pattern;
  const std::string translated = oniguruma_to_pcre2(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Multi-line, since ^ and $ always are in Oniguruma's (Ruby's) syntax.
  const uint32_t options =
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE;
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

std::vector<TextSpan> Regex::matches(std::string_view text) const {
  const MatchData data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (data == nullptr) throw std::bad_alloc();
  const Context context = limits();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  std::vector<TextSpan> found;
  size_t start = 0;
  while (start < text.size()) {
    const auto match = [&](uint32_t options) {
      return pcre2_match(code_->code.get(), subject, text.size(), start,
                         PCRE2_NO_UTF_CHECK | options, data.get(), context.get());
    };
    int rc = match(0);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = match(PCRE2_NO_JIT);  // that one uses the heap
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      throw FormatError(fmt::format("the tokenizer's regular expression '{}' failed: {}",
                                    code_->pattern, pcre2_message(rc)));
    }
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
    const auto [begin, end] = found.emplace_back(TextSpan{span[0], span[1]});
    if (end == text.size()) break;
    // An empty match cuts the text; the search goes on one character later.
    start = end > begin ? end : end + first_char(text.substr(end)).length;
  }
  return found;
}

void split_text(const Splitter& splitter, std::string_view text,
                std::vector<std::string_view>& parts) {
  std::vector<Part> cut = cover(splitter, text);
  switch (splitter.behavior) {
    case SplitBehavior::isolated:
      break;
    case SplitBehavior::removed:
      std::erase_if(cut, [](const Part& part) { return part.separates; });
      break;
    case SplitBehavior::contiguous:
      cut = join_runs(cut);
      break;
    case SplitBehavior::merged_with_previous:
      cut = merge_with_previous(cut);
      break;
    case SplitBehavior::merged_with_next:
      cut = merge_with_next(cut);
      break;
  }
  for (const Part& part : cut) {
    if (part.span.end > part.span.begin) {
      parts.push_back(text.substr(part.span.begin, part.span.end - part.span.begin));
    }
  }
}

}  // namespace leash
