// The five ways of splitting at matches.
#include "models/text/regex_split.h"

#include <span>

#include "models/text/utf8.h"

namespace leash {
namespace {

// A part of the text, and whether it separates.
struct SplitPart {
  TextSpan span;
  bool separates = false;
};

// Calls f(span) for each match, from left to right.
template <class F>
void for_each_match(const Splitter& splitter, std::string_view text, const F& f) {
  if (const auto* regex = std::get_if<Regex>(&splitter.pattern)) {
    Regex::Matches matches(*regex, text);
    while (const auto match = matches.next()) f(*match);
    return;
  }
  const CharPredicate is_match = std::get<CharPredicate>(splitter.pattern);
  for_each_char(text, [&](char32_t c, std::string_view bytes) {
    const auto begin = static_cast<size_t>(bytes.data() - text.data());
    if (is_match(c)) f(TextSpan{begin, begin + bytes.size()});
  });
}

// Calls f(part) for parts that cover the text.
template <class F>
void for_each_part(const Splitter& splitter, std::string_view text, const F& f) {
  size_t end = 0;
  for_each_match(splitter, text, [&](const TextSpan& match) {
    if (match.begin > end) f(SplitPart{{end, match.begin}, splitter.invert});
    f(SplitPart{match, !splitter.invert});
    end = match.end;
  });
  if (end < text.size()) f(SplitPart{{end, text.size()}, splitter.invert});
}

// Neighbours of one kind become one part.
std::vector<SplitPart> join_runs(std::span<const SplitPart> parts) {
  std::vector<SplitPart> joined;
  bool previous = false;
  for (const SplitPart& part : parts) {
    if (part.separates == previous && !joined.empty()) {
      joined.back().span.end = part.span.end;
    } else {
      joined.push_back(part);
    }
    previous = part.separates;
  }
  return joined;
}

std::vector<SplitPart> merge_with_previous(std::span<const SplitPart> parts) {
  std::vector<SplitPart> merged;
  bool previous = false;
  for (const SplitPart& part : parts) {
    if (part.separates && !previous && !merged.empty()) {
      merged.back().span.end = part.span.end;
    } else {
      merged.push_back(part);
    }
    previous = part.separates;
  }
  return merged;
}

std::vector<SplitPart> merge_with_next(std::span<const SplitPart> parts) {
  std::vector<SplitPart> merged;  // from right to left
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

std::vector<SplitPart> merged_parts(const Splitter& splitter, std::string_view text) {
  std::vector<SplitPart> parts;
  for_each_part(splitter, text, [&](const SplitPart& part) { parts.push_back(part); });
  switch (splitter.behavior) {
    case SplitBehavior::contiguous:
      return join_runs(parts);
    case SplitBehavior::merged_with_previous:
      return merge_with_previous(parts);
    case SplitBehavior::merged_with_next:
      return merge_with_next(parts);
    case SplitBehavior::isolated:
    case SplitBehavior::removed:
      break;
  }
  return parts;
}

}  // namespace

void split_text(const Splitter& splitter, std::string_view text,
                std::vector<std::string_view>& parts) {
  const bool removed = splitter.behavior == SplitBehavior::removed;
  const auto add = [&](const SplitPart& part) {
    if (part.span.end <= part.span.begin || (removed && part.separates)) return;
    parts.push_back(text.substr(part.span.begin, part.span.end - part.span.begin));
  };
  if (removed || splitter.behavior == SplitBehavior::isolated) {
    for_each_part(splitter, text, add);
    return;
  }
  for (const SplitPart& part : merged_parts(splitter, text)) add(part);
}

}  // namespace leash
