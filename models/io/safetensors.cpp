// Reading safetensors: header first, checked as a whole; tensors on demand.
#include "models/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"

namespace leash {

namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr size_t kMaxDimensions = 64;         // ATen's

struct DtypeName {
  std::string_view name;
  at::ScalarType type;
};
constexpr std::array<DtypeName, 10> kDtypes = {{{"F64", at::kDouble},
                                                {"F32", at::kFloat},
                                                {"F16", at::kHalf},
                                                {"BF16", at::kBFloat16},
                                                {"I64", at::kLong},
                                                {"I32", at::kInt},
                                                {"I16", at::kShort},
                                                {"I8", at::kChar},
                                                {"U8", at::kByte},
                                                {"BOOL", at::kBool}}};

std::optional<at::ScalarType> dtype_of(std::string_view name) {
  for (const auto& dtype : kDtypes) {
    if (dtype.name == name) return dtype.type;
  }
  return std::nullopt;
}

struct Entry {
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // within the data
  uint64_t end = 0;
};

struct Header {
  std::map<std::string, std::string> metadata;
  std::map<std::string, Entry, std::less<>> entries;
  std::span<const std::byte> data;
};

// Turns one member of the header's JSON into an entry; messages name the tensor.
class EntryParser {
 public:
  EntryParser(const std::string& origin, const std::string& name) : origin_(origin), name_(name) {}

  Entry parse(const nlohmann::json& json) const {
    if (!json.is_object()) fail("its header entry is no object");
    Entry entry;
    entry.dtype = dtype(json);
    uint64_t num_values = shape(member(json, "shape"), entry.shape);
    const auto& offsets = member(json, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2) fail("data_offsets are not two numbers");
    entry.begin = unsigned_number(offsets[0], "data_offsets");
    entry.end = unsigned_number(offsets[1], "data_offsets");
    if (entry.begin > entry.end) fail("data_offsets run backwards");
    if (const auto type = dtype_of(entry.dtype)) check_size(entry, num_values, *type);
    return entry;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(fmt::format("{}: tensor '{}': {}", origin_, brief(name_), what));
  }

  const nlohmann::json& member(const nlohmann::json& json, const char* key) const {
    const auto found = json.find(key);
    if (found == json.end()) fail(fmt::format("'{}' is missing", key));
    return *found;
  }

  std::string dtype(const nlohmann::json& json) const {
    const auto& name = member(json, "dtype");
    if (!name.is_string()) fail("dtype is no string");
    return name.get<std::string>();
  }

  uint64_t unsigned_number(const nlohmann::json& json, const char* key) const {
    if (!json.is_number_unsigned()) fail(fmt::format("{} holds {}", key, brief(json.dump())));
    return json.get<uint64_t>();
  }

  // Fills `shape` and returns the number of values.
  uint64_t shape(const nlohmann::json& json, std::vector<int64_t>& shape) const {
    if (!json.is_array()) fail("shape is no array");
    if (json.size() > kMaxDimensions) fail(fmt::format("{} dimensions", json.size()));
    // Zeros count as one here: strides multiply the other dimensions and must not overflow either.
    uint64_t product = 1;
    uint64_t num_values = 1;
    for (const auto& dimension : json) {
      const uint64_t size = unsigned_number(dimension, "shape");
      if (__builtin_mul_overflow(product, std::max<uint64_t>(size, 1), &product) ||
          product > static_cast<uint64_t>(INT64_MAX) / 8) {
        fail("the size overflows");
      }
      num_values *= size;
      shape.push_back(static_cast<int64_t>(size));
    }
    return num_values;
  }

  void check_size(const Entry& entry, uint64_t num_values, at::ScalarType type) const {
    const uint64_t needed = num_values * c10::elementSize(type);
    if (entry.end - entry.begin != needed) {
      fail(fmt::format("data_offsets span {} bytes, its shape and dtype need {}",
                       entry.end - entry.begin, needed));
    }
  }

  const std::string& origin_;
  const std::string& name_;
};

// The tensors must fill the data from its first byte to its last, one after the other.
void check_places(const Header& header, const std::string& origin) {
  std::vector<const std::pair<const std::string, Entry>*> order;
  for (const auto& entry : header.entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t position = 0;
  for (const auto* entry : order) {
    if (entry->second.begin != position) {
      throw FormatError(
          fmt::format("{}: tensor '{}' begins at byte {} of the data, but the one "
                      "before it ends at {} (overlap or hole)",
                      origin, brief(entry->first), entry->second.begin, position));
    }
    position = entry->second.end;
  }
  if (position != header.data.size()) {
    throw FormatError(fmt::format("{}: the tensors take {} bytes, the file holds {} (truncated?)",
                                  origin, position, header.data.size()));
  }
}

void read_metadata(const nlohmann::json& json, const std::string& origin, Header& header) {
  if (json.is_null()) return;  // none, to the reference implementation
  if (!json.is_object()) throw FormatError(origin + ": __metadata__ is no object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      throw FormatError(fmt::format("{}: __metadata__ '{}' is no string", origin, brief(key)));
    }
    header.metadata[key] = value.get<std::string>();
  }
}

Header read_header(const MappedFile& file) {
  const std::string origin = file.path().string();
  const auto bytes = file.bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof(length)) {
    throw FormatError(origin + ": too short for a safetensors file");
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  const auto rest = bytes.subspan(sizeof(length));
  if (length > kMaxHeader || length > rest.size()) {
    throw FormatError(fmt::format(
        "{}: its header claims {} bytes, {} are left (truncated, or no safetensors file)", origin,
        length, rest.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(rest.data()), length);
  if (!text.starts_with('{')) {
    throw FormatError(origin + ": no safetensors file (its header is no JSON object)");
  }
  Header header;
  header.data = rest.subspan(length);
  const nlohmann::json json = parse_json(text, origin + ": header");
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      read_metadata(value, origin, header);
    } else {
      header.entries.emplace(name, EntryParser(origin, name).parse(value));
    }
  }
  check_places(header, origin);
  return header;
}

class SafetensorsFile : public TensorSource {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path)
      : file_(MappedFile::open(path)), header_(read_header(*file_)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, entry] : header_.entries) names.push_back(name);
    return names;
  }
  bool contains(std::string_view name) const override {
    return header_.entries.find(name) != header_.entries.end();
  }
  std::vector<int64_t> shape(std::string_view name) const override { return entry(name).shape; }
  at::Tensor read(std::string_view name, at::ScalarType dtype) const override {
    const Entry& found = entry(name);
    return tensor_from_file(file_, header_.data.subspan(found.begin, found.end - found.begin),
                            found.shape, stored_type(name), dtype);
  }
  std::string origin() const override { return file_->path().string(); }

  // FormatError when it is one that is not supported.
  at::ScalarType stored_type(std::string_view name) const {
    const Entry& found = entry(name);
    if (const auto type = dtype_of(found.dtype)) return *type;
    throw FormatError(fmt::format("{}: tensor '{}' has dtype {}, which is not supported", origin(),
                                  brief(name), brief(found.dtype)));
  }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

 private:
  const Entry& entry(std::string_view name) const {
    const auto found = header_.entries.find(name);
    if (found == header_.entries.end()) {
      throw FormatError(fmt::format("{}: there is no tensor '{}'", origin(), brief(name)));
    }
    return found->second;
  }

  std::shared_ptr<const MappedFile> file_;
  Header header_;
};

}  // namespace

std::shared_ptr<const TensorSource> open_safetensors(const std::filesystem::path& file) {
  return std::make_shared<const SafetensorsFile>(file);
}

NamedTensors read_safetensors(const std::filesystem::path& file) {
  const SafetensorsFile source(file);
  NamedTensors tensors;
  for (auto& name : source.names()) {
    at::Tensor tensor = source.read(name, source.stored_type(name)).clone();
    tensors.emplace_back(std::move(name), std::move(tensor));
  }
  return tensors;
}

std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& file) {
  return SafetensorsFile(file).metadata();
}

}  // namespace leash
