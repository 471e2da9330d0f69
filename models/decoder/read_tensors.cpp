// The modules' names on one side, the file's on the other.
#include "models/decoder/read_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "models/errors.h"
#include "models/families/decoder_modules.h"
#include "models/families/families.h"
#include "models/notices.h"
#include "models/printable.h"

namespace leash {
namespace {

std::set<std::string, std::less<>> names_read(const DecoderConfig& config) {
  std::set<std::string, std::less<>> names = {"score.weight"};
  for (const ModuleInfo& module : decoder_modules(config)) {
    names.insert(module.path + ".weight");
    if (module.has_bias) names.insert(module.path + ".bias");
  }
  return names;
}

// Whether the name is `ending`, or ends in it behind a dot.
bool ends_in(std::string_view name, std::string_view ending) {
  return name.ends_with(ending) &&
         (name.size() == ending.size() || name[name.size() - ending.size() - 1] == '.');
}

// "a, b, c and 12 more"
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) shown.push_back(printable(names[i]));
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

}  // namespace

void require_all_read(const Checkpoint& checkpoint) {
  const auto read = names_read(checkpoint.config);
  const std::span<const std::string_view> harmless = left_out_by(checkpoint.config.family);
  const std::span<const std::string_view> other_parts = left_out_under_by(checkpoint.config.family);
  std::vector<std::string> left_out, unread;
  for (const std::string& name : checkpoint.tensors->names()) {
    if (read.contains(name)) continue;
    const auto ends = [&](std::string_view ending) { return ends_in(name, ending); };
    const auto begins = [&](std::string_view beginning) { return name.starts_with(beginning); };
    const bool no_matter =
        std::ranges::any_of(harmless, ends) || std::ranges::any_of(other_parts, begins);
    (no_matter ? left_out : unread).push_back(name);
  }
  if (!unread.empty()) {
    throw FormatError(fmt::format(
        "{}: holds {} that nothing here reads: {}; the configuration does not say what they do, "
        "so the model would not be the one that was trained",
        checkpoint.path.string(), unread.size() == 1 ? "a tensor" : "tensors", listed(unread)));
  }
  if (!left_out.empty()) {
    notice_once(fmt::format("{}: left out, since they change no number here: {}",
                            checkpoint.path.string(), listed(left_out)));
  }
}

}  // namespace leash
