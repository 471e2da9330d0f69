#include "models/device/out_of_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <new>
#include <regex>
#include <string_view>
#include <system_error>

namespace leash {
namespace {

// "20.00 MiB" of "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has …".
std::optional<std::string> asked_for(const std::string& text) {
  static const std::regex pattern("[Tt]ried to allocate ([0-9.]+ ?[A-Za-z]+)");
  std::smatch found;
  if (!std::regex_search(text, found, pattern)) return std::nullopt;
  return found[1].str();
}

// LibTorch's first line without what is advice for Python.
std::string first_line(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  const size_t advice = line.find(" If reserved but unallocated");
  return advice == line.npos ? line : line.substr(0, advice);
}

// A thread that could not be made; every other call that says so is tried again.
bool is_thread_shortage(const std::system_error& error) {
  return error.code() == std::errc::resource_unavailable_try_again ||
         error.code() == std::errc::not_enough_memory;
}

constexpr const char* kNoThread =
    "the system gives this process no more threads (`ulimit -u`, or its container's limit on "
    "processes)";

}  // namespace

std::optional<std::string> shortage(const std::exception& error) {
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) {
    const std::string text = torch->what_without_backtrace();
    const bool on_host = text.find("DefaultCPUAllocator") != text.npos ||
                         text.find("can't allocate memory") != text.npos;
    if (on_host || dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return text;
    return std::nullopt;
  }
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return "the host has no memory left";
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system == nullptr || !is_thread_shortage(*system)) return std::nullopt;
  return fmt::format("{}: {}", kNoThread, error.what());
}

std::string shortage_text(const std::string& shortage) {
  if (shortage.starts_with(kNoThread)) return shortage + "; lower --threads, or run.threads";
  const auto asked = asked_for(shortage);
  return fmt::format(
      "out of memory{}: a smaller model, --quantize nf4 (in a recipe model.quantize: nf4), or "
      "shorter and fewer texts at a time need less; `leash plan` says beforehand what a run "
      "needs\n  LibTorch says: {}",
      asked ? fmt::format(" ({} were asked for)", *asked) : "", first_line(shortage));
}

std::string memory_text(int64_t bytes) {
  constexpr std::array<std::string_view, 4> kUnits = {"bytes", "KiB", "MiB", "GiB"};
  auto amount = static_cast<double>(bytes);
  size_t unit = 0;
  for (; amount >= 1024 && unit + 1 < kUnits.size(); ++unit) amount /= 1024;
  return unit == 0 ? fmt::format("{} bytes", bytes)
                   : fmt::format("{:.2f} {}", amount, kUnits[unit]);
}

std::string out_of_memory_text(const std::string& doing, const std::string& from_torch,
                               const std::vector<MemoryUse>& uses,
                               const std::vector<std::string>& lower) {
  const auto asked = asked_for(from_torch);
  std::string text = fmt::format("out of memory while {}{}", doing,
                                 asked ? fmt::format(": {} were asked for", *asked) : "");
  std::map<std::string, std::vector<std::string>> by_device;
  for (const MemoryUse& use : uses) {
    if (use.bytes > 0) {
      by_device[use.device].push_back(fmt::format("{} {}", use.who, memory_text(use.bytes)));
    }
  }
  for (const auto& [device, parts] : by_device) {
    text += fmt::format("\n  in use on {}: {}", device, fmt::join(parts, ", "));
  }
  if (!lower.empty()) text += fmt::format("\n  lower {}", fmt::join(lower, ", or "));
  return text + "\n  LibTorch says: " + first_line(from_torch);
}

}  // namespace leash
