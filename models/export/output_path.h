// What an export writes: a file or folder that appears whole or not at all.
#pragma once

#include <filesystem>

namespace leash {

class OutputPath {
 public:
  // ConfigError where `path` exists already or its folder does not.
  explicit OutputPath(std::filesystem::path path);
  // Removes what was written unless commit() was reached.
  ~OutputPath();
  OutputPath(const OutputPath&) = delete;
  OutputPath& operator=(const OutputPath&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Where to write in the meantime, beside it.
  const std::filesystem::path& aside() const { return aside_; }
  // Puts it in its place. ConfigError where something has come there since.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path aside_;
};

}  // namespace leash
