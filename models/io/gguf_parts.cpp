#include "models/io/gguf_parts.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include "models/errors.h"
#include "models/io/byte_reader.h"
#include "models/printable.h"

namespace leash {
namespace {

constexpr int64_t kMaxParts = 65535;  // split.count is a uint16
constexpr size_t kDigits = 5;

std::optional<int64_t> five_digits(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.size() != kDigits || error != std::errc() || end != text.data() + text.size() ||
      number < 1) {
    return std::nullopt;
  }
  return number;
}

// gguf-split writes uint16 and int32, its count before it knew of those an int32.
std::optional<int64_t> split_number(const MappedFile& file, const GgufHeader& header,
                                    const char* key) {
  const auto found = header.metadata.find(key);
  if (found == header.metadata.end()) return std::nullopt;
  ByteReader reader(file.bytes(), file.path().string(), found->second.begin);
  switch (found->second.type) {
    case GgufType::u16:
      return reader.number<uint16_t>();
    case GgufType::i32:
      return reader.number<int32_t>();
    case GgufType::u32:
      return reader.number<uint32_t>();
    default:
      reader.fail(fmt::format("metadata '{}' is no 16- or 32-bit integer", key));
  }
}

[[noreturn]] void fail(const MappedFile& file, const std::string& what) {
  throw FormatError(file.path().string() + ": " + what);
}

// What a later part says beside its place must be the first one's.
void check_part(const MappedFile& file, const GgufHeader& header, const GgufHeader& first,
                int64_t number, int64_t count) {
  if (split_number(file, header, "split.count") != count ||
      split_number(file, header, "split.no") != number) {
    fail(file, fmt::format("is not part {} of {}, as its name says", number + 1, count));
  }
  for (const std::string& key : header.keys) {
    if (!first.metadata.contains(key)) {
      fail(file,
           fmt::format("has metadata '{}', which the first part does not have", printable(key)));
    }
  }
}

void add_tensors(const MappedFile& file, GgufHeader part, size_t index, GgufHeader& all) {
  for (auto& [name, tensor] : part.tensors) {
    tensor.part = index;
    if (!all.tensors.emplace(name, std::move(tensor)).second) {
      fail(file, fmt::format("tensor '{}' is in an earlier part, too", printable(name)));
    }
  }
}

}  // namespace

std::optional<GgufPart> gguf_part(const std::filesystem::path& file) {
  constexpr std::string_view kOf = "-of-", kEnd = ".gguf";
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits + kEnd.size();
  const std::string name = file.filename().string();
  if (name.size() <= kTail || !name.ends_with(kEnd)) return std::nullopt;
  const std::string_view tail = std::string_view(name).substr(name.size() - kTail);
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf) return std::nullopt;
  const auto number = five_digits(tail.substr(1, kDigits));
  const auto count = five_digits(tail.substr(1 + kDigits + kOf.size(), kDigits));
  if (!number || !count || *count > kMaxParts || *number > *count) return std::nullopt;
  return GgufPart{.name = name.substr(0, name.size() - kTail), .number = *number, .count = *count};
}

std::vector<std::filesystem::path> gguf_files(const std::filesystem::path& file) {
  const auto part = gguf_part(file);
  if (!part) return {file};
  std::vector<std::filesystem::path> files;
  std::string missing;
  for (int64_t i = 1; i <= part->count; ++i) {
    const auto name = fmt::format("{}-{:05}-of-{:05}.gguf", part->name, i, part->count);
    files.push_back(file.parent_path() / name);
    std::error_code error;
    if (!std::filesystem::exists(files.back(), error)) {
      missing += (missing.empty() ? "" : ", ") + name;
    }
  }
  if (missing.empty()) return files;
  throw FormatError(fmt::format("{}: is one of {} files of one model, and of these there is no {}",
                                file.string(), part->count, missing));
}

GgufParts open_gguf_parts(const std::filesystem::path& file) {
  GgufParts parts;
  parts.files.push_back(MappedFile::open(file));
  parts.header = parse_gguf_header(*parts.files[0]);
  const int64_t count = split_number(*parts.files[0], parts.header, "split.count").value_or(0);
  if (count <= 1) return parts;

  const auto named = gguf_part(file);
  if (!named || named->count != count) {
    fail(*parts.files[0],
         fmt::format("is one of {} parts, and its name does not end in -00001-of-{:05}.gguf or the "
                     "like, by which the others would be found",
                     count, count));
  }
  const auto files = gguf_files(file);
  parts = {};
  for (int64_t i = 0; i < count; ++i) {
    const auto mapped = MappedFile::open(files[static_cast<size_t>(i)]);
    GgufHeader header = parse_gguf_header(*mapped);
    parts.files.push_back(mapped);
    if (i == 0) parts.header = header;
    check_part(*mapped, header, parts.header, i, count);
    if (i > 0) add_tensors(*mapped, std::move(header), static_cast<size_t>(i), parts.header);
  }
  const auto total = split_number(*parts.files[0], parts.header, "split.tensors.count");
  if (total && *total != std::ssize(parts.header.tensors)) {
    fail(*parts.files[0], fmt::format("names {} tensors for all parts, and there are {}", *total,
                                      parts.header.tensors.size()));
  }
  return parts;
}

}  // namespace leash
