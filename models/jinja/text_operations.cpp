// What methods and filters of texts share.
#include <algorithm>

#include "models/jinja/methods.h"
#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

bool in_set(const std::vector<char32_t>& set, char32_t c) { return std::ranges::count(set, c) > 0; }

}  // namespace

Value strip_text(Runtime& runtime, const Text& text, const Value& chars, int sides) {
  runtime.budget.charge_bytes(text.bytes.size());
  size_t begin = 0, end = text.bytes.size();
  if (chars.missing() || chars.none()) {
    if ((sides & 1) != 0) begin = leading_space(text.bytes);
    if ((sides & 2) != 0 && begin < end) end -= trailing_space(text.bytes);
    return make_text(runtime, text.part(begin, end));
  }
  const std::vector<char32_t> set = chars_of(text_argument("strip", chars).bytes);
  runtime.budget.charge(static_cast<int64_t>(set.size()) * (text.length + 1) / 64);
  if ((sides & 1) != 0) {
    for (size_t at = 0; at < end && in_set(set, next_char(text.bytes, at));) begin = at;
  }
  while ((sides & 2) != 0 && end > begin) {
    size_t start = end - 1;
    while ((static_cast<uint8_t>(text.bytes[start]) & 0xC0) == 0x80) --start;
    size_t at = start;
    if (!in_set(set, next_char(text.bytes, at))) break;
    end = start;
  }
  return make_text(runtime, text.part(begin, end));
}

Text replace_text(Runtime& runtime, const Text& text, const Text& old, const Text& with,
                  int64_t count) {
  runtime.budget.charge_bytes(text.bytes.size());
  TextBuilder out;
  size_t done = 0, from = 0;
  const auto step = [&](size_t at) {
    runtime.budget.charge_bytes(with.bytes.size());
    out.add(text, done, at);
    out.add(with);
    done = at + old.bytes.size();
  };
  for (; count != 0; --count) {
    const size_t at = find_part(text.bytes, old.bytes, from);
    if (at == std::string_view::npos) break;
    step(at);
    from = done;
    if (!old.bytes.empty()) continue;
    // An empty text stands before each character and behind the last.
    if (at == text.bytes.size()) break;
    next_char(text.bytes, from);
  }
  out.add(text, done, text.bytes.size());
  return out.finish();
}

Text map_text(Runtime& runtime, const Text& text, std::string (*map)(std::string_view)) {
  runtime.budget.charge_bytes(4 * text.bytes.size());
  Text result(map(text.bytes));
  result.markup = text.markup;
  if (text.ascii() && result.bytes.size() == text.bytes.size()) {
    result.foreign = text.foreign;
  } else if (!text.foreign.empty()) {
    result.foreign = {{0, result.bytes.size()}};
  }
  return result;
}

Text capitalized(Runtime& runtime, const Text& text) {
  if (text.bytes.empty()) return text;
  size_t end = 0;
  next_char(text.bytes, end);
  TextBuilder out;
  out.add(map_text(runtime, text.part(0, end), to_title));
  // A sigma at the end looks at what stands before it.
  const Text lower = map_text(runtime, text, to_lower);
  const size_t first = to_lower(text.bytes.substr(0, end)).size();
  out.add(lower, first, lower.bytes.size());
  Text result = out.finish();
  result.markup = text.markup;
  return result;
}

Text join_texts(Runtime& runtime, const Text& separator, const std::vector<Text>& parts) {
  TextBuilder out;
  for (size_t i = 0; i < parts.size(); ++i) {
    runtime.budget.charge_bytes(parts[i].bytes.size() + separator.bytes.size());
    if (i > 0) out.add(separator);
    out.add(parts[i]);
  }
  return out.finish();
}

Text centered(Runtime& runtime, const Text& text, int64_t width) {
  const int64_t missing = std::max<int64_t>(width - text.length, 0);
  runtime.budget.charge(missing / Budget::kBytes + 1);
  // As CPython: where the space cannot be halved, it depends on the width.
  const int64_t left = missing / 2 + (missing & width & 1);
  TextBuilder out;
  out.add(std::string(static_cast<size_t>(left), ' '));
  out.add(text);
  out.add(std::string(static_cast<size_t>(missing - left), ' '));
  Text result = out.finish();
  result.markup = text.markup;
  return result;
}

}  // namespace leash::jinja
