// Strict JSON on top of nlohmann's parser.
#include "models/io/json_file.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "models/errors.h"
#include "models/io/mapped_file.h"

namespace leash {

namespace {

constexpr int kMaxDepth = 64;

// The parser silently keeps the last of equal keys; two readers of one file may then disagree.
class DuplicateKeys {
 public:
  explicit DuplicateKeys(const std::string& origin) : origin_(origin) {}

  bool operator()(int depth, nlohmann::json::parse_event_t event, const nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth) throw FormatError(origin_ + ": the JSON is nested too deeply");
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end) open_.pop_back();
    if (event == Event::key && !open_.back().insert(parsed.get<std::string>()).second) {
      throw FormatError(fmt::format("{}: the key {} occurs twice", origin_, parsed.dump()));
    }
    return true;
  }

 private:
  const std::string& origin_;
  std::vector<std::set<std::string>> open_;
};

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& origin) {
  DuplicateKeys keys(origin);
  try {
    return nlohmann::json::parse(
        text.begin(), text.end(),
        [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
          return keys(depth, event, parsed);
        });
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(origin + ": " + error.what());
  }
}

nlohmann::json read_json_file(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const auto bytes = mapped->bytes();
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string());
}

}  // namespace leash
