// Writing safetensors, byte for byte as the reference implementation lays them out.
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "models/io/atomic_file.h"
#include "models/io/safetensors.h"

namespace leash {

namespace {

constexpr size_t kHeaderAlignment = 8;

// The reference sorts by its list of types from the last one to the first, then by name: larger
// types come first, which keeps every tensor aligned.
struct StoredType {
  int rank;
  std::string_view name;
};

StoredType stored_type(at::ScalarType type) {
  switch (type) {
    case at::kLong:
      return {9, "I64"};
    case at::kDouble:
      return {8, "F64"};
    case at::kFloat:
      return {7, "F32"};
    case at::kInt:
      return {6, "I32"};
    case at::kBFloat16:
      return {5, "BF16"};
    case at::kHalf:
      return {4, "F16"};
    case at::kShort:
      return {3, "I16"};
    case at::kChar:
      return {2, "I8"};
    case at::kByte:
      return {1, "U8"};
    case at::kBool:
      return {0, "BOOL"};
    default:
      TORCH_CHECK(false, "safetensors cannot hold ", type, " here");
  }
}

NamedTensors in_file_order(const NamedTensors& tensors) {
  NamedTensors sorted = tensors;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    const int rank_a = stored_type(a.second.scalar_type()).rank;
    const int rank_b = stored_type(b.second.scalar_type()).rank;
    return rank_a != rank_b ? rank_a > rank_b : a.first < b.first;
  });
  return sorted;
}

void check_names(const NamedTensors& tensors) {
  std::vector<std::string_view> names;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(name != "__metadata__", "no tensor may be called __metadata__");
    TORCH_CHECK(tensor.defined(), "tensor '", name, "' is undefined");
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  TORCH_CHECK(twice == names.end(), "two tensors are called '", *twice, "'");
}

std::string header_text(const NamedTensors& tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const auto size = static_cast<int64_t>(tensor.nbytes());
    text += fmt::format(
        R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", text.size() > 1 ? "," : "",
        nlohmann::json(name).dump(), stored_type(tensor.scalar_type()).name,
        fmt::join(tensor.sizes().begin(), tensor.sizes().end(), ","), offset, offset + size);
    offset += size;
  }
  text += "}";
  text.append((kHeaderAlignment - text.size() % kHeaderAlignment) % kHeaderAlignment, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_names(tensors);
  const NamedTensors sorted = in_file_order(tensors);
  const std::string header = header_text(sorted, metadata);
  AtomicFile out(file);
  const uint64_t length = header.size();
  out.write(&length, sizeof(length));
  out.write(header.data(), header.size());
  for (const auto& [name, tensor] : sorted) {
    const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
    out.write(plain.const_data_ptr(), plain.nbytes());
  }
  out.commit();
}

}  // namespace leash
