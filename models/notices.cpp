// One receiver and one memory for the process.
#include "models/notices.h"

#include <iostream>
#include <mutex>
#include <set>
#include <utility>

namespace leash {
namespace {

struct Notices {
  std::mutex mutex;
  std::set<std::string> said;
  std::function<void(const std::string&)> receiver;
};

Notices& notices() {
  static Notices instance;
  return instance;
}

}  // namespace

void notice_once(const std::string& text) {
  Notices& all = notices();
  const std::lock_guard lock(all.mutex);
  if (!all.said.insert(text).second) return;
  if (all.receiver) {
    all.receiver(text);
  } else {
    std::cerr << "leash: " + text + "\n";
  }
}

void send_notices(std::function<void(const std::string&)> receiver) {
  Notices& all = notices();
  const std::lock_guard lock(all.mutex);
  all.said.clear();
  all.receiver = std::move(receiver);
}

}  // namespace leash
