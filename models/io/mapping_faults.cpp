// A table that a signal handler may read: atomics alone, no locks, no memory.
#include "models/io/mapping_faults.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>

namespace leash {
namespace {

struct Mapping {
  std::atomic<const std::byte*> begin = nullptr;  // nullptr: unused
  std::atomic<size_t> size = 0;
  std::atomic<const char*> path = nullptr;
};

constexpr size_t kMostMappings = 1024;  // those beyond are not watched
constexpr int kBadFile = 3;             // the command line's exit code
std::array<Mapping, kMostMappings> mappings;
std::mutex mutex;  // of those who change the table
struct sigaction before;

void say(const char* text) { (void)!::write(STDERR_FILENO, text, std::strlen(text)); }

void on_fault(int, siginfo_t* info, void*) {
  const auto* address = static_cast<const std::byte*>(info->si_addr);
  for (const Mapping& mapping : mappings) {
    const std::byte* begin = mapping.begin.load();
    if (begin == nullptr || address < begin || address >= begin + mapping.size.load()) continue;
    say("\nleash: error: ");
    say(mapping.path.load());
    say(": became shorter while it was read, or its disk failed\n");
    _exit(kBadFile);
  }
  // The access happens again, and meets who was there before; what was sent would not.
  sigaction(SIGBUS, &before, nullptr);
  if (info->si_code <= 0) ::raise(SIGBUS);
}

void install() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &before);
}

}  // namespace

void watch_mapping(std::span<const std::byte> bytes, const char* path) {
  static std::once_flag once;
  std::call_once(once, install);
  const std::lock_guard lock(mutex);
  for (Mapping& mapping : mappings) {
    if (mapping.begin.load() != nullptr) continue;
    mapping.size = bytes.size();
    mapping.path = path;
    mapping.begin = bytes.data();
    return;
  }
}

void forget_mapping(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex);
  for (Mapping& mapping : mappings) {
    if (mapping.begin.load() == bytes.data()) mapping.begin = nullptr;
  }
}

}  // namespace leash
