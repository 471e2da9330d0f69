// CRC-32C (Castagnoli), as in TFRecord files and in our manifests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace leash {

uint32_t crc32c(std::string_view bytes);
// The checksum of a whole file; std::system_error when it cannot be read.
uint32_t file_crc32c(const std::filesystem::path& file);

}  // namespace leash
