#include "rl/answers/extract.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "models/text/char_classes.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

constexpr std::string_view kBoxBlanks = " \t\r\n";

// Where the last of both commands stands, and its length.
struct BoxCommand {
  size_t at = std::string_view::npos;
  size_t length = 0;
};
BoxCommand last_box_command(std::string_view text) {
  BoxCommand last;
  for (const std::string_view command : {"\\boxed", "\\fbox"}) {
    const size_t at = text.rfind(command);
    if (at != text.npos && (last.at == text.npos || at > last.at)) last = {at, command.size()};
  }
  return last;
}

// The content of the group that `text` begins with.
std::optional<std::string_view> first_group(std::string_view text) {
  int open = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{') {
      ++open;
    } else if (text[i] == '}' && --open == 0) {
      return text.substr(1, i - 1);
    }
  }
  return std::nullopt;
}

std::string composed(const std::string& text, bool fold) {
  utf8proc_uint8_t* mapped = nullptr;
  const int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | (fold ? UTF8PROC_CASEFOLD : 0);
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                   static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (length < 0) throw std::bad_alloc();  // the only failure left for valid UTF-8
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(length)};
}

void erase_all(std::string& text, std::string_view what) {
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at)) {
    text.erase(at, what.size());
  }
}

}  // namespace

std::optional<std::string_view> last_boxed(std::string_view text) {
  const BoxCommand command = last_box_command(text);
  if (command.at == text.npos) return std::nullopt;
  std::string_view rest = text.substr(command.at + command.length);
  rest.remove_prefix(std::min(rest.find_first_not_of(kBoxBlanks), rest.size()));
  if (rest.starts_with('{')) return first_group(rest);
  rest = rest.substr(0, rest.find_first_of(" \t\r\n$"));
  return rest.empty() ? std::nullopt : std::optional(rest);
}

std::optional<std::string_view> behind_last(std::string_view text, std::string_view marker) {
  const size_t at = text.rfind(marker);
  if (at == text.npos) return std::nullopt;
  return text.substr(at + marker.size());
}

std::string comparable_text(std::string_view text, bool ignore_case) {
  std::string storage;
  const std::string whole = composed(std::string(replace_invalid(text, storage)), ignore_case);
  std::string result;
  bool space = false;
  for_each_char(whole, [&](char32_t c, std::string_view bytes) {
    if (is_white_space(c)) {
      space = !result.empty();
      return;
    }
    if (space) result += ' ';
    space = false;
    result += bytes;
  });
  return result;
}

std::string comparable_formula(std::string_view text, bool ignore_case) {
  std::string result = comparable_text(text, ignore_case);
  for (size_t at = result.find("\\text{"); at != result.npos; at = result.find("\\text{", at)) {
    const auto group = first_group(std::string_view(result).substr(at + 5));
    if (!group) break;
    const std::string inside(*group);
    result.replace(at, inside.size() + 7, inside);
  }
  for (const std::string_view nothing : {"\\left", "\\right", "\\,", "\\!", "\\;", "$", " "}) {
    erase_all(result, nothing);
  }
  for (const std::string_view command : {"\\dfrac", "\\tfrac"}) {
    for (size_t at = result.find(command); at != result.npos; at = result.find(command)) {
      result.replace(at, command.size(), "\\frac");
    }
  }
  return result;
}

}  // namespace leash
