// A GGUF that llama.cpp's gguf-split cut into files: NAME-00001-of-00003.gguf and so on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/io/gguf_header.h"
#include "models/io/mapped_file.h"

namespace leash {

struct GgufPart {
  std::string name;    // what stands before "-00001-of-00003.gguf"
  int64_t number = 1;  // from 1
  int64_t count = 1;
};
// nullopt where a file's name is not that of a part.
std::optional<GgufPart> gguf_part(const std::filesystem::path& file);

// All files that a part belongs to, in order, the first one first; the file alone where its name is
// not that of a part. FormatError names the parts that are missing.
std::vector<std::filesystem::path> gguf_files(const std::filesystem::path& file);

// A GGUF and, where it says that it is split, its other parts: one header, whose metadata is the
// first part's and whose tensors are those of all.
struct GgufParts {
  std::vector<std::shared_ptr<const MappedFile>> files;
  GgufHeader header;
};
// FormatError when a part is missing, is another model's, or tensors are missing or there twice.
GgufParts open_gguf_parts(const std::filesystem::path& file);

}  // namespace leash
