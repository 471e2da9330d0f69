#include "rl/run/turns.h"

#include <stdexcept>

namespace leash {
namespace {

void require_front(const std::deque<size_t>& round, size_t who) {
  if (round.empty() || round.front() != who) throw std::logic_error("it is another one's turn");
}

}  // namespace

void Turns::join(size_t who) {
  {
    const std::lock_guard lock(mutex_);
    round_.push_back(who);
  }
  changed_.notify_all();
}

void Turns::wait(size_t who) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !round_.empty() && round_.front() == who; });
}

void Turns::pass(size_t who) {
  std::unique_lock lock(mutex_);
  require_front(round_, who);
  round_.pop_front();
  round_.push_back(who);
  changed_.notify_all();
  changed_.wait(lock, [&] { return round_.front() == who; });
}

void Turns::leave(size_t who) {
  {
    const std::lock_guard lock(mutex_);
    require_front(round_, who);
    round_.pop_front();
  }
  changed_.notify_all();
}

}  // namespace leash
