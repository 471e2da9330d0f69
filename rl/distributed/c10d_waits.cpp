#include "rl/distributed/c10d_waits.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace leash {

std::string message_of(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  text = text.substr(0, text.find("\nException raised from"));
  std::ranges::replace(text, '\n', ' ');
  return text;
}

void C10dWaits::wait(const C10dWork& work, const std::function<bool()>& given_up) {
  std::chrono::microseconds pause(20);
  while (!work->isCompleted()) {
    if (watch_->failure() || (given_up && given_up())) throw CommunicationError("");
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 5 / 4, longest_pause_);
  }
  work->wait();
}

void C10dWaits::run(const char* name, const std::function<void()>& collective) {
  try {
    collective();
  } catch (const std::exception& error) {
    failed_ = true;
    const std::string reason = watch_->find_out(), detail = message_of(error);
    throw CommunicationError(fmt::format("rank {} of {}: {} ({}{}{})", launch_.rank, launch_.size,
                                         reason, name, detail.empty() ? "" : ": ", detail));
  }
}

}  // namespace leash
