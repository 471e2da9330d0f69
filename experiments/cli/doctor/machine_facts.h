// What this machine is, as the kernel tells it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace leash::cli {

struct MachineFacts {
  std::string system;                   // "Debian GNU/Linux 12 (bookworm), Linux 6.1.0"
  std::string cpu;                      // its name
  int64_t cores = 0;                    // that this process may use
  std::vector<std::string> extensions;  // of those that leash or LibTorch use, which there are
  int64_t memory = 0, available = 0;    // bytes; a container's limit where that is less
  std::vector<std::string> gpus;        // NVIDIA's on the bus, as "10de:2335"
  std::optional<std::string> driver;    // NVIDIA's version
  std::optional<std::filesystem::path> nvcc, python;

  bool has(const std::string& extension) const;
};

// `root`: where /proc, /sys and /etc are ("/"; tests have their own).
MachineFacts machine_facts(const std::filesystem::path& root = "/");

// Bytes that are free where `path` is, or would be.
std::optional<int64_t> free_bytes(std::filesystem::path path);
// The file behind a library that this process has loaded.
std::optional<std::string> loaded_library(const std::string& name);
// Looks for a program in PATH.
std::optional<std::filesystem::path> find_program(const std::string& name);

}  // namespace leash::cli
