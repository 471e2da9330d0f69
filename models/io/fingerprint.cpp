#include "models/io/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <system_error>
#include <vector>

#include "models/errors.h"
#include "models/io/crc32c.h"
#include "models/io/gguf_parts.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBlock = 1 << 16;
constexpr uint64_t kMostBlocks = 64;

std::vector<fs::path> files_of(const fs::path& checkpoint) {
  std::vector<fs::path> files;
  if (!fs::is_directory(checkpoint)) {
    if (!gguf_part(checkpoint)) return {checkpoint};
    return gguf_files(checkpoint);
  }
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    const fs::path& file = entry.path();
    const bool weights =
        file.extension() == ".safetensors" && !file.stem().string().starts_with("adapter");
    const bool facts = file.filename() == "config.json" ||
                       file.filename() == "generation_config.json" ||
                       file.filename().string().starts_with("tokenizer");
    if ((weights || facts) && entry.is_regular_file()) files.push_back(file);
  }
  std::ranges::sort(files);
  return files;
}

// Appends the file's blocks: all of them, or kMostBlocks at even distances with both ends.
void sample(const fs::path& file, uint64_t size, std::string& bytes) {
  std::ifstream stream(file, std::ios::binary);
  const uint64_t blocks = std::min((size + kBlock - 1) / kBlock, kMostBlocks);
  const uint64_t last = size > kBlock ? size - kBlock : 0;
  std::string block;
  for (uint64_t i = 0; stream && i < blocks; ++i) {
    const uint64_t begin = blocks == 1 ? 0 : last * i / (blocks - 1);
    block.resize(std::min(kBlock, size - begin));
    stream.seekg(static_cast<std::streamoff>(begin));
    stream.read(block.data(), static_cast<std::streamsize>(block.size()));
    bytes += block;
  }
  if (!stream) throw FormatError(file.string() + ": cannot be read");
}

// A single file may be renamed.
std::string fingerprint_of(const std::vector<fs::path>& files, bool named) {
  std::string bytes;
  uint64_t total = 0;
  for (const fs::path& file : files) {
    std::error_code error;
    const uint64_t size = fs::file_size(file, error);
    if (error) throw FormatError(fmt::format("{}: {}", file.string(), error.message()));
    total += size;
    bytes += fmt::format("{}:{};", named ? file.filename().string() : "", size);
    sample(file, size, bytes);
  }
  return fmt::format("{} bytes, {:08x}", total, crc32c(bytes));
}

}  // namespace

std::string fingerprint(const fs::path& checkpoint) {
  return fingerprint_of(files_of(checkpoint), fs::is_directory(checkpoint));
}

std::string adapter_fingerprint(const fs::path& folder) {
  return fingerprint_of({folder / "adapter_config.json", folder / "adapter_model.safetensors"},
                        /*named=*/true);
}

}  // namespace leash
