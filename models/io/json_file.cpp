// Strict JSON on top of nlohmann's parser.
#include "models/io/json_file.h"

#include <fmt/format.h>

#include <limits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "models/errors.h"
#include "models/io/mapped_file.h"
#include "models/printable.h"

namespace leash {

namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxShown = 200;
// The largest tokenizer.json has some 30 MiB; parsed, a file takes several times its size.
constexpr size_t kMaxBytes = size_t{128} << 20;

// Reads along without making anything.
class Silent : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(nlohmann::json::binary_t&) override { return true; }
  bool start_object(size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 protected:
  virtual bool enter() {
    ++depth_;
    return true;
  }
  bool leave() {
    --depth_;
    return true;
  }
  int depth_ = 0;  // objects and arrays around
};

// The keys of one member of the outermost object.
class MemberKeys : public Silent {
 public:
  explicit MemberKeys(std::string_view member) : member_(member) {}
  bool key(std::string& name) override {
    if (depth_ == 1) inside_ = name == member_;
    if (depth_ == 2 && inside_) keys.push_back(name);
    return true;
  }
  std::vector<std::string> keys;

 private:
  std::string_view member_;
  bool inside_ = false;
};

// The parser silently keeps the last of equal keys; two readers of one file may then disagree. (As
// a callback of the parser this would take a time that grows with the square of an object's
// members.)
class StrictReader : public Silent {
 public:
  explicit StrictReader(const std::string& origin, bool exact = false)
      : origin_(origin), exact_(exact) {}

  bool number_unsigned(uint64_t number) override {
    if (exact_ && number > INT64_MAX) too_large(std::to_string(number));
    return true;
  }
  bool number_float(double, const std::string& digits) override {
    if (exact_ && digits.find_first_of(".eE") == digits.npos) too_large(digits);
    return true;
  }

  bool start_object(size_t) override {
    open_.emplace_back();
    return enter();
  }
  bool end_object() override {
    open_.pop_back();
    return leave();
  }
  bool key(std::string& name) override {
    if (open_.back().insert(name).second) return true;
    throw FormatError(
        fmt::format("{}: the key {} occurs twice", origin_, brief(nlohmann::json(name).dump())));
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    // Without the library's own "[json.exception.parse_error.101] ".
    const std::string_view what = error.what();
    const auto end = what.starts_with('[') ? what.find("] ") : std::string_view::npos;
    throw FormatError(fmt::format("{}: is not valid JSON: {}", origin_,
                                  brief(what.substr(end == what.npos ? 0 : end + 2))));
  }

 private:
  bool enter() override {
    if (++depth_ > kMaxDepth) throw FormatError(origin_ + ": the JSON is nested too deeply");
    return true;
  }

  [[noreturn]] void too_large(const std::string& digits) const {
    throw FormatError(fmt::format("{}: {} does not fit 64 bits", origin_, brief(digits)));
  }

  const std::string& origin_;
  bool exact_;
  std::vector<std::unordered_set<std::string>> open_;  // keys of the objects around
};

void check_strictly(std::string_view text, const std::string& origin, bool exact) {
  // The parser takes a zero byte for the end of the text.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    throw FormatError(fmt::format("{}: a zero byte at {}", origin, zero));
  }
  StrictReader reader(origin, exact);
  nlohmann::json::sax_parse(text, &reader);
}

}  // namespace

std::string brief(std::string_view text) { return printable(text, kMaxShown); }

nlohmann::json parse_json(std::string_view text, const std::string& origin) {
  check_strictly(text, origin, /*exact=*/false);
  return nlohmann::json::parse(text);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& origin) {
  check_strictly(text, origin, /*exact=*/true);
  return nlohmann::ordered_json::parse(text);
}

std::vector<std::string> keys_in_order(std::string_view text, std::string_view member) {
  MemberKeys reader(member);
  nlohmann::json::sax_parse(text, &reader);
  return std::move(reader.keys);
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
