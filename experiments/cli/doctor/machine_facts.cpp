#include "experiments/cli/doctor/machine_facts.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include "models/device/device.h"

namespace leash::cli {
namespace {

namespace fs = std::filesystem;

std::string file_text(const fs::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  std::string all = text.str();
  while (!all.empty() && all.back() == '\n') all.pop_back();
  return all;
}

// What stands behind "KEY" and a separator on a line of its own.
std::string value_of(const std::string& text, std::string_view key, char separator) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    const size_t at = line.find(separator, key.size());
    if (at == std::string::npos || line.find_first_not_of(" \t", key.size()) != at) continue;
    const size_t begin = line.find_first_not_of(" \t\"", at + 1);
    if (begin == std::string::npos) return "";
    return line.substr(begin, line.find_last_not_of("\" ") - begin + 1);
  }
  return "";
}

int64_t number_in(const std::string& text) {
  const size_t digit = text.find_first_of("0123456789");
  return digit == 0 ? std::strtoll(text.c_str(), nullptr, 10) : -1;
}

std::vector<std::string> extensions_of(const std::string& flags) {
  // As /proc/cpuinfo calls them, in the order of what they bring.
  constexpr const char* kKnown[] = {"avx2",        "fma",         "avx512f",  "avx512vl",
                                    "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"};
  std::istringstream words(flags);
  std::set<std::string> there;
  for (std::string word; words >> word;) there.insert(word);
  std::vector<std::string> known;
  for (const char* name : kKnown) {
    if (there.contains(name)) known.emplace_back(name);
  }
  return known;
}

void read_memory(const fs::path& root, MachineFacts& facts) {
  const std::string meminfo = file_text(root / "proc/meminfo");
  facts.memory = 1024 * std::max<int64_t>(number_in(value_of(meminfo, "MemTotal", ':')), 0);
  facts.available = 1024 * std::max<int64_t>(number_in(value_of(meminfo, "MemAvailable", ':')), 0);
  const int64_t limit = number_in(file_text(root / "sys/fs/cgroup/memory.max"));
  const int64_t used = number_in(file_text(root / "sys/fs/cgroup/memory.current"));
  if (limit <= 0 || limit >= facts.memory) return;
  facts.memory = limit;
  facts.available = std::min(facts.available, limit - std::clamp<int64_t>(used, 0, limit));
}

// NVIDIA's display and 3D controllers.
std::vector<std::string> gpus_on_the_bus(const fs::path& root) {
  std::vector<std::string> gpus;
  std::error_code error;
  for (const auto& device : fs::directory_iterator(root / "sys/bus/pci/devices", error)) {
    const std::string kind = file_text(device.path() / "class");
    if (file_text(device.path() / "vendor") != "0x10de" || !kind.starts_with("0x03")) continue;
    const std::string model = file_text(device.path() / "device");
    gpus.push_back("10de:" + model.substr(std::min<size_t>(2, model.size())));
  }
  std::ranges::sort(gpus);
  return gpus;
}

std::optional<std::string> driver_version(const fs::path& root) {
  const std::string text = file_text(root / "proc/driver/nvidia/version");
  std::istringstream words(text.substr(0, text.find('\n')));
  for (std::string word; words >> word;) {
    if (word.find_first_not_of("0123456789.") == std::string::npos &&
        word.find('.') != std::string::npos) {
      return word;
    }
  }
  return std::nullopt;
}

}  // namespace

bool MachineFacts::has(const std::string& extension) const {
  return std::ranges::find(extensions, extension) != extensions.end();
}

std::optional<fs::path> find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path file = fs::path(folder) / name;
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return std::nullopt;
}

MachineFacts machine_facts(const fs::path& root) {
  MachineFacts facts;
  utsname kernel = {};
  ::uname(&kernel);
  const std::string name = value_of(file_text(root / "etc/os-release"), "PRETTY_NAME", '=');
  facts.system = fmt::format("{}{}{} {} {}", name, name.empty() ? "" : ", ", kernel.sysname,
                             kernel.release, kernel.machine);
  const std::string cpu = file_text(root / "proc/cpuinfo");
  facts.cpu = value_of(cpu, "model name", ':');
  facts.extensions = extensions_of(value_of(cpu, "flags", ':'));
  facts.cores = usable_cores();
  read_memory(root, facts);
  facts.gpus = gpus_on_the_bus(root);
  facts.driver = driver_version(root);
  facts.nvcc = find_program("nvcc");
  if (!facts.nvcc && ::access("/usr/local/cuda/bin/nvcc", X_OK) == 0) {
    facts.nvcc = "/usr/local/cuda/bin/nvcc";
  }
  facts.python = find_program("python3");
  return facts;
}

std::optional<int64_t> free_bytes(fs::path path) {
  std::error_code error;
  path = fs::absolute(path, error);
  while (!fs::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  const fs::space_info space = fs::space(path, error);
  if (error) return std::nullopt;
  return static_cast<int64_t>(space.available);
}

std::optional<std::string> loaded_library(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path == std::string::npos) continue;
    const std::string file = line.substr(path);
    if (fs::path(file).filename().string().starts_with(name)) return file;
  }
  return std::nullopt;
}

}  // namespace leash::cli
