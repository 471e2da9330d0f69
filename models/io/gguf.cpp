// A GGUF file's metadata and tensors, on top of its checked header.
#include "models/io/gguf.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <limits>
#include <type_traits>
#include <utility>

#include "models/errors.h"
#include "models/io/byte_reader.h"
#include "models/io/gguf_header.h"
#include "models/io/gguf_parts.h"
#include "models/io/mapped_file.h"
#include "models/printable.h"

namespace leash {

struct GgufFile::State {
  std::vector<std::shared_ptr<const MappedFile>> files;  // the first one has the metadata
  GgufHeader header;

  const GgufValue* find(std::string_view key) const {
    const auto found = header.metadata.find(key);
    return found == header.metadata.end() ? nullptr : &found->second;
  }
  ByteReader reader(size_t position) const {
    return {files[0]->bytes(), files[0]->path().string(), position};
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(files[0]->path().string() + ": " + what);
  }
  [[noreturn]] void wrong_type(std::string_view key, const GgufValue& value,
                               const char* wanted) const {
    const bool is_array = value.type == GgufType::array;
    fail(fmt::format("metadata '{}' is {}{}, {} is needed", printable(key),
                     is_array ? "an array of " : "",
                     gguf_type_name(is_array ? value.element : value.type), wanted));
  }
  const GgufTensor& tensor(std::string_view name) const {
    const auto found = header.tensors.find(name);
    if (found == header.tensors.end())
      fail(fmt::format("there is no tensor '{}'", printable(name)));
    return found->second;
  }
};

namespace {

// The torch type of a plain (unquantised) tensor.
std::optional<at::ScalarType> plain_type(BlockType type) {
  switch (type) {
    case BlockType::f32:
      return at::kFloat;
    case BlockType::f16:
      return at::kHalf;
    case BlockType::bf16:
      return at::kBFloat16;
    case BlockType::f64:
      return at::kDouble;
    case BlockType::i8:
      return at::kChar;
    case BlockType::i16:
      return at::kShort;
    case BlockType::i32:
      return at::kInt;
    case BlockType::i64:
      return at::kLong;
    default:
      return std::nullopt;
  }
}

// Calls `visit` with the next number of the given type, in its own C++ type; false for types that
// are no numbers.
template <class Visitor>
bool visit_number(ByteReader& reader, GgufType type, Visitor visit) {
  switch (type) {
    case GgufType::u8:
    case GgufType::boolean:
      return visit(reader.number<uint8_t>()), true;
    case GgufType::i8:
      return visit(reader.number<int8_t>()), true;
    case GgufType::u16:
      return visit(reader.number<uint16_t>()), true;
    case GgufType::i16:
      return visit(reader.number<int16_t>()), true;
    case GgufType::u32:
      return visit(reader.number<uint32_t>()), true;
    case GgufType::i32:
      return visit(reader.number<int32_t>()), true;
    case GgufType::u64:
      return visit(reader.number<uint64_t>()), true;
    case GgufType::i64:
      return visit(reader.number<int64_t>()), true;
    case GgufType::f32:
      return visit(reader.number<float>()), true;
    case GgufType::f64:
      return visit(reader.number<double>()), true;
    case GgufType::string:
    case GgufType::array:
      return false;
  }
  return false;
}

// The next number as int64_t; nullopt when the type is no integer or the value does not fit.
std::optional<int64_t> next_int(ByteReader& reader, GgufType type) {
  std::optional<int64_t> result;
  visit_number(reader, type, [&](auto value) {
    if constexpr (std::is_same_v<decltype(value), uint64_t>) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return;
    }
    if constexpr (std::is_integral_v<decltype(value)>) result = static_cast<int64_t>(value);
  });
  if (result && type == GgufType::boolean) *result = *result != 0;
  return result;
}

std::optional<double> next_float(ByteReader& reader, GgufType type) {
  std::optional<double> result;
  visit_number(reader, type, [&](auto value) { result = static_cast<double>(value); });
  return result;
}

}  // namespace

GgufFile::GgufFile(std::unique_ptr<const State> state) : state_(std::move(state)) {}
GgufFile::~GgufFile() = default;

std::shared_ptr<const GgufFile> GgufFile::open(const std::filesystem::path& file) {
  auto state = std::make_unique<State>();
  GgufParts parts = open_gguf_parts(file);
  state->files = std::move(parts.files);
  state->header = std::move(parts.header);
  return std::shared_ptr<const GgufFile>(new GgufFile(std::move(state)));
}

std::vector<std::string> GgufFile::metadata_keys() const { return state_->header.keys; }

std::optional<std::string> GgufFile::string_value(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::string) state_->wrong_type(key, *value, "a string");
  return std::string(state_->reader(value->begin).string());
}

std::optional<int64_t> GgufFile::int_value(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr) return std::nullopt;
  ByteReader reader = state_->reader(value->begin);
  const auto result = next_int(reader, value->type);
  if (!result) state_->wrong_type(key, *value, "an integer of at most 63 bits");
  return result;
}

std::optional<double> GgufFile::float_value(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr) return std::nullopt;
  ByteReader reader = state_->reader(value->begin);
  const auto result = next_float(reader, value->type);
  if (!result) state_->wrong_type(key, *value, "a number");
  return result;
}

std::optional<std::vector<std::string>> GgufFile::strings(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::array || value->element != GgufType::string) {
    state_->wrong_type(key, *value, "an array of strings");
  }
  ByteReader reader = state_->reader(value->begin);
  std::vector<std::string> result;
  result.reserve(value->count);  // bounded by the file's size when the header was parsed
  for (uint64_t i = 0; i < value->count; ++i) result.emplace_back(reader.string());
  return result;
}

std::optional<std::vector<int64_t>> GgufFile::ints(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::array) state_->wrong_type(key, *value, "an array of integers");
  ByteReader reader = state_->reader(value->begin);
  std::vector<int64_t> result;
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto next = next_int(reader, value->element);
    if (!next) state_->wrong_type(key, *value, "an array of integers of at most 63 bits");
    result.push_back(*next);
  }
  return result;
}

std::optional<std::vector<double>> GgufFile::floats(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::array) state_->wrong_type(key, *value, "an array of numbers");
  ByteReader reader = state_->reader(value->begin);
  std::vector<double> result;
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto next = next_float(reader, value->element);
    if (!next) state_->wrong_type(key, *value, "an array of numbers");
    result.push_back(*next);
  }
  return result;
}

std::optional<int64_t> GgufFile::array_size(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr || value->type != GgufType::array) return std::nullopt;
  return static_cast<int64_t>(value->count);
}

std::string GgufFile::metadata_bytes(std::string_view key) const {
  const GgufValue* value = state_->find(key);
  if (value == nullptr) state_->fail(fmt::format("there is no metadata '{}'", printable(key)));
  const auto all = state_->files[0]->bytes();
  // The type stands before the value, an array's element type and count between them.
  const size_t begin = value->begin - (value->type == GgufType::array ? 16 : 4);
  const auto bytes = all.subspan(begin, value->end - begin);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

GgufFile::RawTensor GgufFile::raw(std::string_view name) const {
  const GgufTensor& tensor = state_->tensor(name);
  state_->files[tensor.part]->require_whole();
  const auto format = block_format(tensor.type);
  if (!format) {
    state_->fail(
        fmt::format("tensor '{}' has the ggml type {}, which is not supported; convert the file "
                    "to F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K",
                    printable(name), tensor.type));
  }
  return {format->type, tensor.shape, tensor.bytes};
}

std::vector<std::string> GgufFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state_->header.tensors) names.push_back(name);
  return names;
}

bool GgufFile::contains(std::string_view name) const {
  return state_->header.tensors.find(name) != state_->header.tensors.end();
}

std::vector<int64_t> GgufFile::shape(std::string_view name) const {
  return state_->tensor(name).shape;
}

at::Tensor GgufFile::read(std::string_view name, at::ScalarType dtype) const {
  const RawTensor tensor = raw(name);
  if (const auto plain = plain_type(tensor.type)) {
    const auto& file = state_->files[state_->tensor(name).part];
    return tensor_from_file(file, tensor.bytes, tensor.shape, *plain, dtype);
  }
  at::Tensor values = at::empty(tensor.shape, at::kFloat);
  dequantize(tensor.type, tensor.bytes, values.numel(), values.mutable_data_ptr<float>());
  return values.to(dtype);
}

std::string GgufFile::origin() const { return state_->files[0]->path().string(); }

void GgufFile::fail(const std::string& what) const { throw FormatError(origin() + ": " + what); }

}  // namespace leash
