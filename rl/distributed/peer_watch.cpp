#include "rl/distributed/peer_watch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <vector>

namespace leash {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kBeat(500);
constexpr int64_t kSilence = 8;  // own beats without one of another rank: it is dead, or stopped
constexpr milliseconds kPatience(10000);

std::string beat_key(int64_t rank) { return fmt::format("beat/{}", rank); }
constexpr const char* kFailed = "failed";  // "how many ranks will never read it: reason"
constexpr const char* kKnown = "known";    // how many ranks have read it
constexpr const char* kLeft = "left";      // how many ranks came to their end without a failure

std::string silent_text(const std::vector<int64_t>& ranks) {
  if (ranks.empty()) return "all ranks live, but they did not meet";
  return fmt::format("rank{} {} ended or hang{}: no sign of life", ranks.size() > 1 ? "s" : "",
                     fmt::join(ranks, ", "), ranks.size() > 1 ? "" : "s");
}

}  // namespace

// Lives as long as the thread, which outlasts a watch whose store does not answer.
struct PeerWatch::Shared {
  C10dStore store;
  Launch launch;
  milliseconds timeout;

  mutable std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  bool ended = false;                    // the thread
  bool asked = false;                    // find_out() waits
  std::string own{};                     // reason of this rank's end
  std::optional<std::string> failure{};  // known reason, of any rank
  Clock::time_point failed_at{};

  // For the thread alone.
  int64_t beats = 0;
  std::vector<std::string> seen{};  // heartbeats when first asked,
  int64_t seen_at = 0;              // which was at this own one
  int64_t gone = 0;                 // ranks that will never know of the failure
  bool acknowledged = false;

  bool holds_store() const { return launch.rank == 0 && !launch.store_is_there; }
  void run();
  void look();
  void look_for_silence();
  std::vector<std::string> read_beats();
  void publish(int64_t num_gone, const std::string& reason);
  void acknowledge();
  void settle(const std::string& reason);
  void leave();
};

void PeerWatch::Shared::run() {
  for (std::unique_lock lock(mutex); !stop;) {
    lock.unlock();
    try {
      look();
    } catch (const std::exception&) {
      settle(launch.store_is_there
                 ? "the launcher's key-value store is gone"
                 : "rank 0 ended or cannot be reached (it holds the key-value store)");
    }
    lock.lock();
    if (failure && Clock::now() > failed_at + timeout) {
      std::fprintf(stderr, "leash: error: rank %ld: ended, because %s\n",
                   static_cast<long>(launch.rank), failure->c_str());
      ::_exit(1);
    }
    changed.wait_for(lock, kBeat, [&] { return stop; });
  }
  leave();
  const std::lock_guard lock(mutex);
  ended = true;
  changed.notify_all();
}

// One round: heartbeat, own failure, answer to find_out(), others' failure.
void PeerWatch::Shared::look() {
  store->set(beat_key(launch.rank), std::to_string(++beats));
  std::unique_lock lock(mutex);
  const std::string reason = own;
  const bool ask = asked;
  lock.unlock();
  if (!reason.empty()) publish(0, reason);
  if (ask && !acknowledged) look_for_silence();
  if (!acknowledged && store->check({kFailed})) acknowledge();
}

void PeerWatch::Shared::look_for_silence() {
  if (seen.empty()) {
    seen = read_beats();
    seen_at = beats;
  }
  if (beats < seen_at + kSilence) return;
  const std::vector<std::string> now = read_beats();
  std::vector<int64_t> silent;
  for (int64_t rank = 0; rank < launch.size; ++rank) {
    if (rank != launch.rank && now[rank] == seen[rank]) silent.push_back(rank);
  }
  publish(std::ssize(silent), silent_text(silent));
}

std::vector<std::string> PeerWatch::Shared::read_beats() {
  std::vector<std::string> all;
  for (int64_t rank = 0; rank < launch.size; ++rank) {
    all.push_back(store->check({beat_key(rank)}) ? store->get_to_str(beat_key(rank)) : "");
  }
  return all;
}

// The first reason counts.
void PeerWatch::Shared::publish(int64_t num_gone, const std::string& reason) {
  store->compareSet(kFailed, "", fmt::format("{}: {}", num_gone, reason));
}

void PeerWatch::Shared::acknowledge() {
  const std::string text = store->get_to_str(kFailed);
  gone = std::stoll(text);
  acknowledged = true;
  store->add(kKnown, 1);
  settle(text.substr(text.find(": ") + 2));
}

void PeerWatch::Shared::settle(const std::string& reason) {
  const std::lock_guard lock(mutex);
  if (failure) return;
  failure = reason;
  failed_at = Clock::now();
  changed.notify_all();
}

// The store goes last: a rank that loses it before its own end would blame rank 0.
void PeerWatch::Shared::leave() {
  const auto end = Clock::now() + kPatience;
  try {
    if (!acknowledged) store->add(kLeft, 1);
    while (holds_store() && Clock::now() < end) {
      const bool alone = acknowledged ? store->add(kKnown, 0) >= launch.size - gone
                                      : store->add(kLeft, 0) >= launch.size;
      if (alone) return;
      std::this_thread::sleep_for(milliseconds(10));
    }
  } catch (const std::exception&) {  // nobody to say it to
  }
}

PeerWatch::PeerWatch(C10dStore store, const Launch& launch, milliseconds timeout)
    : shared_(new Shared{.store = std::move(store), .launch = launch, .timeout = timeout}),
      thread_([shared = shared_] { shared->run(); }) {}

PeerWatch::~PeerWatch() {
  std::unique_lock lock(shared_->mutex);
  shared_->stop = true;
  shared_->changed.notify_all();
  const bool ended = shared_->changed.wait_for(lock, 2 * kPatience, [&] { return shared_->ended; });
  lock.unlock();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();  // a store that is gone can keep it for long
  }
}

std::optional<std::string> PeerWatch::failure() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->failure;
}

std::string PeerWatch::find_out() {
  std::unique_lock lock(shared_->mutex);
  shared_->asked = true;
  shared_->changed.wait_for(lock, 2 * kPatience, [&] { return shared_->failure.has_value(); });
  if (!shared_->failure) shared_->failure = "the key-value store does not answer";
  return *shared_->failure;
}

void PeerWatch::report(const std::string& why) noexcept {
  try {
    std::unique_lock lock(shared_->mutex);
    shared_->own = fmt::format("rank {} failed: {}", shared_->launch.rank, why);
    shared_->changed.wait_for(lock, kPatience, [&] { return shared_->failure.has_value(); });
  } catch (...) {  // the others will notice that this rank is silent
  }
}

}  // namespace leash
