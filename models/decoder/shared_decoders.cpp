#include "models/decoder/shared_decoders.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "models/io/checkpoint.h"

namespace leash {
namespace {

struct SharedTable {
  std::mutex mutex;
  bool active = false;
  std::map<std::string, std::shared_ptr<const Decoder>> decoders;
};

SharedTable& shared_table() {
  static SharedTable table;
  return table;
}

// A file that changed in between is another model.
std::string shared_key(const Checkpoint& checkpoint, const LoadOptions& options) {
  const auto path = std::filesystem::canonical(checkpoint.path);
  const auto written = std::filesystem::last_write_time(path).time_since_epoch().count();
  return fmt::format("{} {} {} {} {} {}", path.string(), written, static_cast<int>(options.dtype),
                     enum_name(options.quantize), options.fast, options.device.str());
}

}  // namespace

SharedDecoders::SharedDecoders() {
  SharedTable& table = shared_table();
  const std::lock_guard lock(table.mutex);
  if (table.active) throw std::logic_error("two SharedDecoders at once");
  table.active = true;
}

SharedDecoders::~SharedDecoders() {
  SharedTable& table = shared_table();
  const std::lock_guard lock(table.mutex);
  table.active = false;
  table.decoders.clear();
}

std::shared_ptr<const Decoder> SharedDecoders::get(const Checkpoint& checkpoint,
                                                   const LoadOptions& options, const Load& load) {
  SharedTable& table = shared_table();
  std::unique_lock lock(table.mutex);
  if (!table.active || options.gathers != nullptr) {
    lock.unlock();
    return load();
  }
  auto& shared = table.decoders[shared_key(checkpoint, options)];
  if (shared == nullptr) shared = load();
  return shared;
}

}  // namespace leash
