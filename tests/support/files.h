// Where tests find things, and a folder that is gone afterwards.
#pragma once

#include <filesystem>
#include <string>

namespace leash::testing {

// A file of the repository, e.g. repository("tests/golden/gae.safetensors").
std::filesystem::path repository(const std::string& relative);
// The quick start's model that set-up installed (a GGUF).
std::filesystem::path smollm2();
std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& text);

// A fresh folder that is removed with its contents.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace leash::testing
