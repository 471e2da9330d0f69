// Mapping files, and tensors that share the mapping.
#include "models/io/mapped_file.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "models/errors.h"
#include "models/io/mapping_faults.h"

namespace leash {

static_assert(std::endian::native == std::endian::little, "the formats are little-endian");

namespace {

// Closes a descriptor at the end of a scope unless it was taken.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int take() { return std::exchange(fd, -1); }
};

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  throw FormatError(file.string() + ": " + what);
}

}  // namespace

bool is_there(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error);
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& file) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  Descriptor descriptor{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (descriptor.fd < 0) {
    fail(file, errno == ENOENT ? "no such file" : std::string("cannot open: ") + strerror(errno));
  }
  struct stat status {};
  if (::fstat(descriptor.fd, &status) != 0) fail(file, strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(file, "is a folder, a file is needed");
  if (!S_ISREG(status.st_mode)) fail(file, "is no regular file");
  if (status.st_size == 0) fail(file, "is empty");
  const auto size = static_cast<size_t>(status.st_size);
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.fd, 0);
  if (start == MAP_FAILED) fail(file, std::string("cannot map: ") + strerror(errno));
  return std::shared_ptr<const MappedFile>(
      new MappedFile(file, descriptor.take(), {static_cast<const std::byte*>(start), size}));
}

MappedFile::MappedFile(std::filesystem::path path, int descriptor, std::span<const std::byte> bytes)
    : path_(std::move(path)), descriptor_(descriptor), bytes_(bytes) {
  watch_mapping(bytes_, path_.c_str());
}

MappedFile::~MappedFile() {
  forget_mapping(bytes_);
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  ::close(descriptor_);
}

void MappedFile::require_whole() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail(path_, strerror(errno));
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size >= bytes_.size()) return;
  fail(path_, fmt::format("became shorter while it was read: {} bytes of {} are left", size,
                          bytes_.size()));
}

at::Tensor tensor_from_file(const std::shared_ptr<const MappedFile>& file,
                            std::span<const std::byte> bytes, const std::vector<int64_t>& shape,
                            at::ScalarType stored, at::ScalarType wanted) {
  file->require_whole();
  // Bytes that are neither 0 nor 1 must never become a C++ bool.
  const bool is_bool = stored == at::kBool;
  const at::ScalarType loaded = is_bool ? at::kByte : stored;
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  at::Tensor tensor;
  if (bytes.empty() || address % c10::elementSize(loaded) != 0) {
    tensor = at::empty(shape, loaded);
    if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  } else {
    tensor = at::from_blob(
        const_cast<std::byte*>(bytes.data()), shape, [file](void*) {}, at::dtype(loaded));
  }
  if (is_bool) tensor = tensor.ne(0);
  return tensor.to(wanted);
}

}  // namespace leash
