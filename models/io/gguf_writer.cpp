#include "models/io/gguf_writer.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "models/io/atomic_file.h"
#include "models/io/gguf_header.h"
#include "models/quant/block_formats.h"
#include "models/quant/encode_blocks.h"

namespace leash {
namespace {

constexpr uint64_t kTensorAlignment = 32;
constexpr uint32_t kVersion = 3;

template <class Number>
void append(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void append_text(std::string& bytes, std::string_view text) {
  append<uint64_t>(bytes, text.size());
  bytes += text;
}

std::string typed(GgufType type) {
  std::string bytes;
  append(bytes, static_cast<uint32_t>(type));
  return bytes;
}

std::string array_of(GgufType element, size_t count) {
  std::string bytes = typed(GgufType::array) + typed(element);
  append<uint64_t>(bytes, count);
  return bytes;
}

uint64_t aligned(uint64_t size) {
  return (size + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
}

}  // namespace

void GgufWriter::set(const std::string& key, std::string bytes) {
  const auto found = std::ranges::find(metadata_, key, &Entry::key);
  if (found == metadata_.end()) {
    metadata_.push_back({key, std::move(bytes)});
  } else {
    found->bytes = std::move(bytes);
  }
}

bool GgufWriter::has(std::string_view key) const {
  return std::ranges::find(metadata_, key, &Entry::key) != metadata_.end();
}

void GgufWriter::u32(const std::string& key, int64_t value) {
  TORCH_CHECK(value >= 0 && value <= UINT32_MAX, key, " does not fit into 32 bits");
  std::string bytes = typed(GgufType::u32);
  append(bytes, static_cast<uint32_t>(value));
  set(key, std::move(bytes));
}

void GgufWriter::f32(const std::string& key, double value) {
  std::string bytes = typed(GgufType::f32);
  append(bytes, static_cast<float>(value));
  set(key, std::move(bytes));
}

void GgufWriter::boolean(const std::string& key, bool value) {
  std::string bytes = typed(GgufType::boolean);
  append(bytes, static_cast<uint8_t>(value));
  set(key, std::move(bytes));
}

void GgufWriter::string(const std::string& key, std::string_view value) {
  std::string bytes = typed(GgufType::string);
  append_text(bytes, value);
  set(key, std::move(bytes));
}

void GgufWriter::strings(const std::string& key, const std::vector<std::string>& values) {
  std::string bytes = array_of(GgufType::string, values.size());
  for (const std::string& value : values) append_text(bytes, value);
  set(key, std::move(bytes));
}

void GgufWriter::i32s(const std::string& key, const std::vector<int64_t>& values) {
  std::string bytes = array_of(GgufType::i32, values.size());
  for (const int64_t value : values) append(bytes, static_cast<int32_t>(value));
  set(key, std::move(bytes));
}

void GgufWriter::f32s(const std::string& key, const std::vector<double>& values) {
  std::string bytes = array_of(GgufType::f32, values.size());
  for (const double value : values) append(bytes, static_cast<float>(value));
  set(key, std::move(bytes));
}

void GgufWriter::booleans(const std::string& key, const std::vector<bool>& values) {
  std::string bytes = array_of(GgufType::boolean, values.size());
  for (const bool value : values) append(bytes, static_cast<uint8_t>(value));
  set(key, std::move(bytes));
}

void GgufWriter::copy(const std::string& key, const GgufFile& from) {
  set(key, from.metadata_bytes(key));
}

void GgufWriter::tensor(std::string name, std::vector<int64_t> shape, BlockType type,
                        std::function<at::Tensor()> values) {
  const int64_t count =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  const auto size = static_cast<uint64_t>(block_bytes(type, count));
  tensors_.push_back({std::move(name), std::move(shape), type, std::move(values), size});
}

std::string GgufWriter::header() const {
  std::string bytes = "GGUF";
  append(bytes, kVersion);
  append<uint64_t>(bytes, tensors_.size());
  append<uint64_t>(bytes, metadata_.size());
  for (const Entry& entry : metadata_) {
    append_text(bytes, entry.key);
    bytes += entry.bytes;
  }
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    append_text(bytes, tensor.name);
    append(bytes, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      append(bytes, static_cast<uint64_t>(*size));
    }
    append(bytes, static_cast<uint32_t>(tensor.type));
    append(bytes, offset);
    offset += aligned(tensor.size);
  }
  bytes.resize(aligned(bytes.size()));
  return bytes;
}

void GgufWriter::write(const std::filesystem::path& file) const {
  AtomicFile out(file);
  const std::string head = header();
  out.write(head.data(), head.size());
  const std::string padding(kTensorAlignment, '\0');
  for (const Tensor& tensor : tensors_) {
    const at::Tensor values = tensor.values();
    TORCH_CHECK(values.sizes() == at::IntArrayRef(tensor.shape), "tensor ", tensor.name,
                " has another shape than it was announced with");
    const at::Tensor bytes = encode_blocks(values, tensor.type);
    TORCH_CHECK(bytes.nbytes() == tensor.size, "tensor ", tensor.name, " has another size");
    out.write(bytes.const_data_ptr(), bytes.nbytes());
    out.write(padding.data(), aligned(tensor.size) - tensor.size);
  }
  out.commit();
}

}  // namespace leash
