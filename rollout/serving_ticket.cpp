#include "rollout/serving_ticket.h"

#include <utility>

namespace leash {

std::vector<ServingEvent> ServingTicket::wait(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  news_.wait_for(lock, timeout, [this] { return !events_.empty() || error_ || open_ == 0; });
  if (error_) std::rethrow_exception(error_);
  return std::exchange(events_, {});
}

bool ServingTicket::done() const {
  const std::lock_guard lock(mutex_);
  return open_ == 0 && events_.empty();
}

void ServingTicket::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  events_.clear();
}

bool ServingTicket::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_ || error_;
}

void ServingTicket::add(ServingEvent event) {
  {
    const std::lock_guard lock(mutex_);
    if (event.stop && open_ > 0) --open_;
    if (!cancelled_) events_.push_back(std::move(event));
  }
  news_.notify_all();
}

void ServingTicket::fail(std::exception_ptr error) {
  {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }
  news_.notify_all();
}

}  // namespace leash
