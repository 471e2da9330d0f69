// TensorBoard's event files, with the few protobuf fields that scalars need.
//
//   Event   { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
//   Summary { repeated Value value = 1; }   Value { string tag = 1; float simple_value = 2; }
#include "rl/run/tensorboard_writer.h"

#include <fmt/core.h>
#include <unistd.h>

#include <bit>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <regex>
#include <system_error>
#include <vector>

#include "models/io/crc32c.h"

namespace leash {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "the formats are little-endian");

constexpr size_t kHeaderBytes = 12;  // length and its checksum
constexpr size_t kFrameBytes = 16;   // around the data
constexpr uint64_t kLongestRecord = 1 << 26;

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

template <class T>
T unraw(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string field(uint32_t number, WireType type, std::string_view payload) {
  return varint(number << 3 | type).append(payload);
}

std::string bytes_field(uint32_t number, std::string_view payload) {
  return field(number, kBytes, varint(payload.size())).append(payload);
}

// TFRecord stores checksums rotated and offset, so that data which holds checksums is not mistaken.
uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

std::string event(double wall_time, int64_t step) {
  std::string bytes = field(1, kFixed64, raw(wall_time));
  if (step != 0) bytes += field(2, kVarint, varint(static_cast<uint64_t>(step)));
  return bytes;
}

std::optional<uint64_t> take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// The step of a serialised Event; nullopt when it is not one.
std::optional<int64_t> step_of_event(std::string_view bytes) {
  int64_t step = 0;
  while (!bytes.empty()) {
    const auto tag = take_varint(bytes);
    if (!tag) return std::nullopt;
    const uint64_t type = *tag & 7;
    uint64_t skip = type == kFixed64 ? 8 : type == kFixed32 ? 4 : 0;
    if (type == kVarint || type == kBytes) {
      const auto value = take_varint(bytes);
      if (!value) return std::nullopt;
      if (*tag >> 3 == 2 && type == kVarint) step = static_cast<int64_t>(*value);
      if (type == kBytes) skip = *value;
    } else if (skip == 0) {
      return std::nullopt;
    }
    if (skip > bytes.size()) return std::nullopt;
    bytes.remove_prefix(skip);
  }
  return step;
}

// The data of the record at the front of a stream; nullopt at its end and where it is broken.
std::optional<std::string> take_record(std::istream& stream) {
  std::string header(kHeaderBytes, '\0');
  if (!stream.read(header.data(), kHeaderBytes)) return std::nullopt;
  const auto length = unraw<uint64_t>(header);
  const std::string_view view = header;
  if (unraw<uint32_t>(view.substr(8)) != masked_crc(view.substr(0, 8)) || length > kLongestRecord) {
    return std::nullopt;
  }
  std::string data(length, '\0'), checksum(4, '\0');
  if (!stream.read(data.data(), static_cast<std::streamsize>(length)) ||
      !stream.read(checksum.data(), 4) || unraw<uint32_t>(checksum) != masked_crc(data)) {
    return std::nullopt;
  }
  return data;
}

bool is_ours(const fs::path& file) {
  static const std::regex kName(R"(events\.out\.tfevents\.\d{10,}\..+\.\d+\.\d+)");
  if (!std::regex_match(file.filename().string(), kName)) return false;
  std::ifstream stream(file, std::ios::binary);
  const auto first = take_record(stream);
  constexpr size_t kTime = 9;  // when it was written, in front of all else
  return first ? first->size() > kTime && first->substr(kTime) == version_event(0).substr(kTime)
               : fs::file_size(file) == 0;
}

void truncate_event_file(const fs::path& file, int64_t step) {
  std::ifstream stream(file, std::ios::binary);
  uint64_t keep = 0;
  while (const auto data = take_record(stream)) {
    const auto found = step_of_event(*data);
    if (!found || *found > step) break;
    keep += data->size() + kFrameBytes;
  }
  if (keep == 0) {
    fs::remove(file);
  } else if (keep < fs::file_size(file)) {
    cut_file(file, keep);
  }
}

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string tensorboard_record(std::string_view data) {
  const std::string length = raw(static_cast<uint64_t>(data.size()));
  return length + raw(masked_crc(length)) + std::string(data) + raw(masked_crc(data));
}

std::string version_event(double wall_time) {
  return event(wall_time, 0) + bytes_field(3, "brain.Event:2");
}

std::string scalars_event(double wall_time, int64_t step, const Metrics& metrics) {
  std::string summary;
  for (const auto& [tag, value] : metrics) {
    summary +=
        bytes_field(1, bytes_field(1, tag) + field(2, kFixed32, raw(static_cast<float>(value))));
  }
  return event(wall_time, step) + bytes_field(5, summary);
}

TensorboardWriter::TensorboardWriter(const fs::path& folder) {
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) std::strcpy(host, "localhost");
  const double time = unix_seconds();
  for (int number = 0; !file_; ++number) {
    const fs::path name =
        folder / fmt::format("{}{:010}.{}.{}.{}", kEventsPrefix, static_cast<int64_t>(time), host,
                             ::getpid(), number);
    if (!fs::exists(name)) {
      file_ = std::make_unique<AppendFile>(name, AppendFile::Mode::create_new);
    }
  }
  file_->append(tensorboard_record(version_event(time)));
}

void TensorboardWriter::scalars(int64_t step, const Metrics& metrics) {
  file_->append(tensorboard_record(scalars_event(unix_seconds(), step, metrics)));
}

void truncate_events(const fs::path& folder, int64_t step) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const bool plain = entry.symlink_status().type() == fs::file_type::regular;
    if (plain && is_ours(entry.path())) files.push_back(entry.path());
  }
  for (const fs::path& file : files) truncate_event_file(file, step);
}

}  // namespace leash
