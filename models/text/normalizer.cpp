// One function for each step; most go character by character.
#include "models/text/normalizer.h"

#include "models/text/byte_alphabet.h"
#include "models/text/char_classes.h"
#include "models/text/unicode_ranges.h"
#include "models/text/utf8.h"

namespace leash::normalizers {
namespace {

template <class Keep>
void keep_chars(TextInWork& work, const Keep& keep) {
  std::string kept;
  kept.reserve(work.text.size());
  bool at_start = true;
  for_each_char(work.text, [&](char32_t c, std::string_view bytes) {
    if (keep(c)) {
      kept += bytes;
    } else if (at_start) {
      work.from_start = false;
    }
    at_start = false;
  });
  work.text = std::move(kept);
}

// `map` gives another character, or the same.
template <class Map>
void map_chars(TextInWork& work, const Map& map) {
  std::string mapped;
  mapped.reserve(work.text.size());
  for_each_char(work.text, [&](char32_t c, std::string_view) { append_utf8(mapped, map(c)); });
  work.text = std::move(mapped);
}

// The lists of SentencePiece's rule nmt_nfkc.
bool removed_by_nmt(char32_t c) {
  return (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
         c == 0x9F;
}

bool space_to_nmt(char32_t c) {
  return c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
         c == 0xFFFD;
}

void clean_text(TextInWork& work) {
  keep_chars(work, [](char32_t c) { return c != 0 && c != 0xFFFD && !is_control(c); });
  map_chars(work, [](char32_t c) { return is_white_space(c) ? U' ' : c; });
}

void space_ideographs(TextInWork& work) {
  std::string spaced;
  for_each_char(work.text, [&](char32_t c, std::string_view bytes) {
    if (is_ideograph(c)) spaced += ' ';
    spaced += bytes;
    if (is_ideograph(c)) spaced += ' ';
  });
  work.text = std::move(spaced);
}

}  // namespace

Normalizer::Step unicode(UnicodeForm form) {
  return [form](TextInWork& work) { work.text = to_form(work.text, form); };
}

Normalizer::Step lowercase() {
  return [](TextInWork& work) { work.text = to_lower(work.text); };
}

Normalizer::Step strip(bool left, bool right) {
  return [left, right](TextInWork& work) {
    if (right) work.text.erase(work.text.size() - trailing_white_space(work.text));
    const size_t spaces = left ? leading_white_space(work.text) : 0;
    work.text.erase(0, spaces);
    if (spaces > 0) work.from_start = false;
  };
}

Normalizer::Step strip_accents() {
  return
      [](TextInWork& work) { keep_chars(work, [](char32_t c) { return !is_combining_mark(c); }); };
}

Normalizer::Step replace(Regex pattern, std::string by) {
  return [pattern = std::move(pattern), by = std::move(by)](TextInWork& work) {
    if (work.text.empty()) return;
    std::string replaced;
    size_t done = 0;
    Regex::Matches matches(pattern, work.text);
    while (const auto match = matches.next()) {
      replaced.append(work.text, done, match->begin - done);
      replaced += by;
      if (match->begin == 0 && match->end > 0 && by.empty()) work.from_start = false;
      done = match->end;
    }
    if (done == 0 && replaced.empty()) return;
    work.text = replaced.append(work.text, done);
  };
}

Normalizer::Step prepend(std::string text) {
  return [text = std::move(text)](TextInWork& work) {
    if (!work.text.empty()) work.text.insert(0, text);
  };
}

Normalizer::Step nmt() {
  return [](TextInWork& work) {
    keep_chars(work, [](char32_t c) { return !removed_by_nmt(c); });
    map_chars(work, [](char32_t c) { return space_to_nmt(c) ? U' ' : c; });
  };
}

Normalizer::Step precompiled(std::shared_ptr<const Charsmap> rules) {
  return [rules = std::move(rules)](TextInWork& work) {
    work.text = apply_precompiled(*rules, work.text);
  };
}

Normalizer::Step byte_level() {
  return [](TextInWork& work) { work.text = spelling_of_bytes(work.text); };
}

Normalizer::Step bert(const Bert& options) {
  return [options](TextInWork& work) {
    if (options.clean_text) clean_text(work);
    if (options.handle_chinese_chars) space_ideographs(work);
    if (options.strip_accents) {
      work.text = to_form(work.text, UnicodeForm::nfd);
      keep_chars(work, [](char32_t c) { return !is_nonspacing_mark(c); });
    }
    if (options.lowercase) work.text = to_lower(work.text);
  };
}

}  // namespace leash::normalizers
