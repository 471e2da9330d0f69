// A whole file, mapped read-only into memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace leash {

class MappedFile {
 public:
  // FormatError when the file is missing, empty, unreadable or no regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  // FormatError when the file has lost its end since: what lies behind would read as zeros or end
  // the process (models/io/mapping_faults.h).
  void require_whole() const;

 private:
  MappedFile(std::filesystem::path path, int descriptor, std::span<const std::byte> bytes);
  std::filesystem::path path_;
  int descriptor_;
  std::span<const std::byte> bytes_;
};

// A file that cannot be looked at counts as missing.
bool is_there(const std::filesystem::path& file);

// A part of a mapped file, which holds exactly `shape` values of type `stored`, as a tensor of type
// `wanted`. Shares the mapping (and keeps it alive) where no conversion is needed.
at::Tensor tensor_from_file(const std::shared_ptr<const MappedFile>& file,
                            std::span<const std::byte> bytes, const std::vector<int64_t>& shape,
                            at::ScalarType stored, at::ScalarType wanted);

}  // namespace leash
