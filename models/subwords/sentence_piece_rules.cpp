#include "models/subwords/sentence_piece_rules.h"

#include <utility>

#include "models/text/utf8.h"

namespace leash {
namespace {

constexpr std::string_view kEscapedSpace = "\xE2\x96\x81";  // U+2581

// What stands at the front of a text, and what it becomes.
struct Front {
  size_t length;
  std::string_view becomes;
};

Front front_of(const SentencePieceRules& rules, std::string_view text) {
  if (const auto match = rules.user_defined.longest(text); match.length > 0) {
    return {match.length, text.substr(0, match.length)};
  }
  if (rules.charsmap != nullptr) {
    if (const auto match = rules.charsmap->longest(text)) {
      return {match->length, match->replacement};
    }
  }
  const size_t length = first_char(text).length;
  return {length, text.substr(0, length)};
}

std::string_view without_spaces_in_front(const SentencePieceRules& rules, std::string_view text) {
  while (!text.empty()) {
    const Front front = front_of(rules, text);
    if (front.becomes != " ") break;
    text.remove_prefix(front.length);
  }
  return text;
}

}  // namespace

std::string SentencePieceRules::apply(std::string_view text, bool with_prefix) const {
  if (remove_extra_whitespaces) text = without_spaces_in_front(*this, text);
  if (text.empty()) return "";
  const std::string_view space = escape_whitespaces ? kEscapedSpace : " ";
  const bool dummy = add_dummy_prefix && with_prefix;
  std::string result;
  if (dummy && !whitespace_as_suffix) result += space;
  bool after_space = remove_extra_whitespaces;
  while (!text.empty()) {
    Front front = front_of(*this, text);
    text.remove_prefix(front.length);
    while (after_space && front.becomes.starts_with(' ')) front.becomes.remove_prefix(1);
    for (const char c : front.becomes) {
      if (c == ' ') {
        result += space;
      } else {
        result += c;
      }
    }
    if (!front.becomes.empty()) {
      after_space = remove_extra_whitespaces && front.becomes.ends_with(' ');
    }
  }
  while (remove_extra_whitespaces && result.ends_with(space)) {
    result.erase(result.size() - space.size());
  }
  if (dummy && whitespace_as_suffix) result += space;
  return result;
}

Normalizer::Step sentence_piece_step(std::shared_ptr<const SentencePieceRules> rules) {
  return [rules = std::move(rules)](TextInWork& work) {
    work.text = rules->apply(work.text, rules->prefix_every_part || work.from_start);
  };
}

}  // namespace leash
