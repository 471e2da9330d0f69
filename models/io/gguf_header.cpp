// Parsing a GGUF header from bytes that nobody vouches for.
#include "models/io/gguf_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "models/errors.h"
#include "models/io/byte_reader.h"
#include "models/printable.h"
#include "models/quant/block_formats.h"

namespace leash {

namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr size_t kMaxName = 65535;       // the format's limit for keys
constexpr uint32_t kMaxGgufDimensions = 4;
constexpr int kMaxArrayDepth = 4;
// The smallest entries there can be: they bound the counts by the file's size.
constexpr size_t kMinMetadataBytes = 8 + 4 + 1;
constexpr size_t kMinTensorBytes = 8 + 4 + 4 + 8;
constexpr uint64_t kDefaultAlignment = 32;

struct Counts {
  uint64_t tensors = 0;
  uint64_t metadata = 0;
};

Counts read_counts(ByteReader& reader) {
  if (reader.remaining() < 4 || reader.number<uint32_t>() != kMagic) {
    reader.fail("not a GGUF file (it does not begin with 'GGUF')");
  }
  const auto version = reader.number<uint32_t>();
  if ((version & 0xffff) == 0) reader.fail("big-endian GGUF is not supported");
  if (version != 2 && version != 3) {
    reader.fail(fmt::format("GGUF version {} is not supported, only 2 and 3", version));
  }
  Counts counts;
  counts.tensors = reader.number<uint64_t>();
  counts.metadata = reader.number<uint64_t>();
  if (counts.metadata > reader.remaining() / kMinMetadataBytes) {
    reader.fail(fmt::format("{} metadata entries cannot fit into the file", counts.metadata));
  }
  if (counts.tensors > reader.remaining() / kMinTensorBytes) {
    reader.fail(fmt::format("{} tensors cannot fit into the file", counts.tensors));
  }
  return counts;
}

std::string read_name(ByteReader& reader) {
  const auto name = reader.string();
  if (name.size() > kMaxName) reader.fail(fmt::format("a name of {} bytes", name.size()));
  return std::string(name);
}

GgufType read_type(ByteReader& reader) {
  const auto type = reader.number<uint32_t>();
  if (type > static_cast<uint32_t>(GgufType::f64)) {
    reader.fail(fmt::format("metadata type {} does not exist", type));
  }
  return static_cast<GgufType>(type);
}

GgufValue read_value(ByteReader& reader, GgufType type, int depth = 0);

GgufValue read_array(ByteReader& reader, int depth) {
  if (depth >= kMaxArrayDepth) reader.fail("arrays are nested too deeply");
  GgufValue value{.type = GgufType::array};
  value.element = read_type(reader);
  value.count = reader.number<uint64_t>();
  value.begin = reader.position();
  const size_t size = gguf_type_size(value.element);
  // A string takes at least its length, an array its type and its count.
  const size_t least = size > 0 ? size : value.element == GgufType::string ? 8 : 12;
  if (value.count > reader.remaining() / least) {
    reader.fail(fmt::format("an array of {} entries cannot fit into the file", value.count));
  }
  if (size > 0) {
    reader.skip(value.count * size, "an array");
    return value;
  }
  for (uint64_t i = 0; i < value.count; ++i) read_value(reader, value.element, depth + 1);
  return value;
}

GgufValue read_value(ByteReader& reader, GgufType type, int depth) {
  if (type == GgufType::array) return read_array(reader, depth);
  GgufValue value{.type = type, .begin = reader.position()};
  if (type == GgufType::string) {
    reader.string();
  } else {
    reader.skip(gguf_type_size(type), "a value");
  }
  return value;
}

void read_metadata(ByteReader& reader, uint64_t count, GgufHeader& header) {
  for (uint64_t i = 0; i < count; ++i) {
    std::string key = read_name(reader);
    const GgufType type = read_type(reader);
    GgufValue value = read_value(reader, type);
    value.end = reader.position();
    if (!header.metadata.emplace(key, value).second) {
      reader.fail(fmt::format("the metadata key '{}' occurs twice", printable(key)));
    }
    header.keys.push_back(std::move(key));
  }
}

uint64_t read_alignment(const MappedFile& file, const GgufHeader& header) {
  const auto found = header.metadata.find("general.alignment");
  if (found == header.metadata.end()) return kDefaultAlignment;
  ByteReader reader(file.bytes(), file.path().string(), found->second.begin);
  if (found->second.type != GgufType::u32) reader.fail("general.alignment is no uint32");
  const auto alignment = reader.number<uint32_t>();
  if (!std::has_single_bit(alignment)) {
    reader.fail(fmt::format("general.alignment is {}, no power of two", alignment));
  }
  return alignment;
}

// One entry of the tensor table; `offset` counts from the start of the data.
struct TensorEntry {
  std::string name;
  GgufTensor tensor;
  uint64_t offset = 0;
  uint64_t size = 0;
};

TensorEntry read_tensor_entry(ByteReader& reader) {
  TensorEntry entry;
  entry.name = read_name(reader);
  GgufTensor& tensor = entry.tensor;
  const auto num_dimensions = reader.number<uint32_t>();
  if (num_dimensions > kMaxGgufDimensions) {
    reader.fail(
        fmt::format("tensor '{}' has {} dimensions", printable(entry.name), num_dimensions));
  }
  // Zeros count as one here: strides multiply the other dimensions and must not overflow either.
  uint64_t product = 1;
  uint64_t num_values = 1;
  for (uint32_t i = 0; i < num_dimensions; ++i) {
    const auto size = reader.number<uint64_t>();
    if (__builtin_mul_overflow(product, std::max<uint64_t>(size, 1), &product) ||
        product > static_cast<uint64_t>(INT64_MAX) / 8) {
      reader.fail(fmt::format("the size of tensor '{}' overflows", printable(entry.name)));
    }
    num_values *= size;
    tensor.shape.push_back(static_cast<int64_t>(size));
  }
  tensor.num_values = static_cast<int64_t>(num_values);
  tensor.type = reader.number<uint32_t>();
  entry.offset = reader.number<uint64_t>();
  if (const auto format = block_format(tensor.type)) {
    const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.front();
    if (row % format->values != 0) {
      reader.fail(
          fmt::format("tensor '{}' of type {} has rows of {} values, not whole blocks of {}",
                      printable(entry.name), format->name, row, format->values));
    }
    // A block never takes more than 8 bytes a value, so the check above covers this product.
    entry.size = num_values / format->values * format->bytes;
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  return entry;
}

void check_places(const ByteReader& reader, std::vector<TensorEntry>& entries, uint64_t alignment,
                  uint64_t data_size) {
  for (const auto& entry : entries) {
    if (entry.offset % alignment != 0) {
      reader.fail(fmt::format("tensor '{}' lies at offset {}, which is not aligned to {}",
                              printable(entry.name), entry.offset, alignment));
    }
    if (entry.offset > data_size || entry.size > data_size - entry.offset) {
      reader.fail(
          fmt::format("tensor '{}' ({} bytes at offset {}) reaches past the {} bytes of data "
                      "(truncated file?)",
                      printable(entry.name), entry.size, entry.offset, data_size));
    }
  }
  std::vector<const TensorEntry*> order;
  for (const auto& entry : entries) {
    if (entry.size > 0) order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(),
            [](const TensorEntry* a, const TensorEntry* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->size) {
      reader.fail(fmt::format("tensors '{}' and '{}' overlap", printable(order[i - 1]->name),
                              printable(order[i]->name)));
    }
  }
}

}  // namespace

size_t gguf_type_size(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      return 0;
  }
  return 0;
}

std::string_view gguf_type_name(GgufType type) {
  constexpr std::string_view kNames[] = {"uint8",  "int8",  "uint16", "int16",  "uint32",
                                         "int32",  "float", "bool",   "string", "array",
                                         "uint64", "int64", "double"};
  return kNames[static_cast<uint32_t>(type)];
}

GgufHeader parse_gguf_header(const MappedFile& file) {
  ByteReader reader(file.bytes(), file.path().string());
  const Counts counts = read_counts(reader);
  GgufHeader header;
  read_metadata(reader, counts.metadata, header);
  std::vector<TensorEntry> entries;
  for (uint64_t i = 0; i < counts.tensors; ++i) entries.push_back(read_tensor_entry(reader));

  const uint64_t alignment = read_alignment(file, header);
  const uint64_t data_begin = (reader.position() + alignment - 1) / alignment * alignment;
  const auto bytes = file.bytes();
  const uint64_t data_size = bytes.size() > data_begin ? bytes.size() - data_begin : 0;
  check_places(reader, entries, alignment, data_size);
  for (auto& entry : entries) {
    if (entry.size > 0) {
      entry.tensor.bytes = bytes.subspan(data_begin + entry.offset, entry.size);
    }
    if (!header.tensors.emplace(entry.name, std::move(entry.tensor)).second) {
      reader.fail(fmt::format("the tensor '{}' occurs twice", printable(entry.name)));
    }
  }
  return header;
}

}  // namespace leash
