// CRC-32C by Boost.CRC.
#include "models/io/crc32c.h"

#include <boost/crc.hpp>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <vector>

namespace leash {
namespace {

using Crc32c = boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true>;

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  Crc32c crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return static_cast<uint32_t>(crc.checksum());
}

uint32_t file_crc32c(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    throw std::system_error(errno, std::generic_category(), "cannot read " + file.string());
  Crc32c crc;
  std::vector<char> buffer(1 << 18);
  while (stream) {
    stream.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    crc.process_bytes(buffer.data(), static_cast<size_t>(stream.gcount()));
  }
  if (stream.bad() || !stream.eof()) {
    throw std::system_error(EIO, std::generic_category(), "cannot read " + file.string());
  }
  return static_cast<uint32_t>(crc.checksum());
}

}  // namespace leash
