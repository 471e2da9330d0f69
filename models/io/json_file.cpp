// Strict JSON on top of nlohmann's parser.
#include "models/io/json_file.h"

#include <fmt/format.h>

#include <limits>
#include <set>
#include <vector>

#include "models/errors.h"
#include "models/io/mapped_file.h"

namespace leash {

namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxShown = 200;
// The largest tokenizer.json has some 30 MiB; parsed, a file takes several times its size.
constexpr size_t kMaxBytes = size_t{128} << 20;

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
      throw FormatError(fmt::format("{}: the key {} occurs twice", origin_, brief(parsed.dump())));
    }
    return true;
  }

 private:
  const std::string& origin_;
  std::vector<std::set<std::string>> open_;
};

}  // namespace

std::string brief(std::string text) {
  if (text.size() <= kMaxShown) return text;
  size_t end = kMaxShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // whole UTF-8
  return text.substr(0, end) + "…";
}

nlohmann::json parse_json(std::string_view text, const std::string& origin) {
  // The parser takes a zero byte for the end of the text.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    throw FormatError(fmt::format("{}: a zero byte at {}", origin, zero));
  }
  DuplicateKeys keys(origin);
  try {
    return nlohmann::json::parse(
        text.begin(), text.end(),
        [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
          return keys(depth, event, parsed);
        });
  } catch (const nlohmann::json::exception& error) {
    // Without the library's own "[json.exception.parse_error.101] ".
    const std::string_view what = error.what();
    const auto end = what.starts_with('[') ? what.find("] ") : std::string_view::npos;
    throw FormatError(fmt::format("{}: is not valid JSON: {}", origin,
                                  brief(std::string(what.substr(end == what.npos ? 0 : end + 2)))));
  }
}

nlohmann::json read_json_file(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const auto bytes = mapped->bytes();
  if (bytes.size() > kMaxBytes) {
    throw FormatError(fmt::format("{}: is larger than {} MiB", file.string(), kMaxBytes >> 20));
  }
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string());
}

double number_or_nan(const nlohmann::json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

}  // namespace leash
