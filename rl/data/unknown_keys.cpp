#include "rl/data/unknown_keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/io/json_file.h"

namespace leash {
namespace {

constexpr size_t kMaxShown = 10;

bool has(const std::vector<std::string_view>& known, const std::string& key) {
  return std::ranges::find(known, key) != known.end();
}

}  // namespace

void UnknownKeys::look_at(const nlohmann::ordered_json& record, int64_t line) {
  if (known_.any) return;
  for (const auto& [key, value] : record.items()) {
    if (!has(known_.record, key)) add(key, line);
  }
}

void UnknownKeys::add(const std::string& path, int64_t line) {
  if (std::ranges::find(found_, path, &std::pair<std::string, int64_t>::first) != found_.end()) {
    return;
  }
  if (found_.size() == kMaxShown) {
    more_ = true;
  } else {
    found_.emplace_back(path, line);
  }
}

std::string UnknownKeys::text() const {
  std::string text;
  for (const auto& [path, line] : found_) {
    text += fmt::format("{}`{}` (line {})", text.empty() ? "" : ", ", brief(path), line);
  }
  return text + (more_ ? " and more" : "");
}

}  // namespace leash
