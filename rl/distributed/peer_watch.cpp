#include "rl/distributed/peer_watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <vector>

namespace leash {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kBeat(500);
constexpr milliseconds kSilence(2500);  // without a heartbeat: dead, or stopped
constexpr milliseconds kPatience(5000);

std::string beat_key(int64_t rank) { return fmt::format("beat/{}", rank); }
constexpr const char* kFailed = "failed";
constexpr const char* kKnown = "known";  // how many ranks have read it
constexpr const char* kLeft = "left";    // how many ranks came to their end

std::string ranks_text(const std::vector<int64_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank" : "ranks";
  for (size_t i = 0; i < ranks.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? " " : ", ", ranks[i]);
  return text;
}

}  // namespace

// Lives as long as the thread, which outlasts a communicator that failed.
struct PeerWatch::Shared {
  C10dStore store;
  Launch launch;
  milliseconds timeout;

  mutable std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  bool asked = false;                  // find_out() waits
  std::string own{};                   // reason of this rank's end
  bool told = false;                   // the others know it
  std::optional<std::string> failure;  // known reason, of any rank

  // Of the thread alone.
  int64_t beats = 0;
  std::vector<std::string> seen{};  // heartbeats when asked
  Clock::time_point seen_at{};
  Clock::time_point failed_at{};
  bool acknowledged = false;

  bool holds_store() const { return launch.rank == 0 && !launch.store_is_there; }
  void run();
  void look();
  void leave();
  void settle(const std::string& reason);
  std::optional<std::string> silent_ranks();
  std::vector<std::string> read_beats();
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
}

// The store goes last: a rank that loses it before its own end would think of a failure.
void PeerWatch::Shared::leave() {
  try {
    if (failure) return;
    store->add(kLeft, 1);
    for (const auto end = Clock::now() + kPatience; holds_store() && Clock::now() < end;) {
      if (store->add(kLeft, 0) >= launch.size) return;
      std::this_thread::sleep_for(milliseconds(10));
    }
  } catch (const std::exception&) {  // nobody to say it to
  }
}

// One round: heartbeat, own failure, others' failure, answer to find_out().
void PeerWatch::Shared::look() {
  store->set(beat_key(launch.rank), std::to_string(++beats));
  std::unique_lock lock(mutex);
  const std::string reason = own;
  const bool ask = asked && !failure;
  lock.unlock();
  if (!reason.empty()) store->compareSet(kFailed, "", reason);
  if (!acknowledged && store->check({kFailed})) {
    settle(store->get_to_str(kFailed));
    store->add(kKnown, 1);
    acknowledged = true;
  }
  if (acknowledged) {
    const bool all_know = store->add(kKnown, 0) >= launch.size;
    lock.lock();
    told = told || all_know;
    lock.unlock();
    changed.notify_all();
  } else if (ask) {
    if (const auto silent = silent_ranks()) {
      store->compareSet(kFailed, "", *silent);
      settle(store->get_to_str(kFailed));
    }
  }
}

void PeerWatch::Shared::settle(const std::string& reason) {
  const std::lock_guard lock(mutex);
  if (!failure) failed_at = Clock::now();
  if (!failure) failure = reason;
  changed.notify_all();
}

// Nothing until kSilence has passed since the first look.
std::optional<std::string> PeerWatch::Shared::silent_ranks() {
  if (seen.empty()) {
    seen = read_beats();
    seen_at = Clock::now();
    return std::nullopt;
  }
  if (Clock::now() < seen_at + kSilence) return std::nullopt;
  const std::vector<std::string> now = read_beats();
  std::vector<int64_t> silent;
  for (int64_t rank = 0; rank < launch.size; ++rank) {
    if (rank != launch.rank && now[rank] == seen[rank]) silent.push_back(rank);
  }
  if (silent.empty()) return "all ranks live, but they did not meet";
  return ranks_text(silent) + " ended or hangs: no sign of life";
}

std::vector<std::string> PeerWatch::Shared::read_beats() {
  std::vector<std::string> beats;
  for (int64_t rank = 0; rank < launch.size; ++rank) {
    beats.push_back(store->check({beat_key(rank)}) ? store->get_to_str(beat_key(rank)) : "");
  }
  return beats;
}

PeerWatch::PeerWatch(C10dStore store, const Launch& launch, milliseconds timeout)
    : shared_(new Shared{.store = std::move(store), .launch = launch, .timeout = timeout}),
      thread_([shared = shared_] { shared->run(); }) {}

PeerWatch::~PeerWatch() {
  bool failed = false;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
    failed = shared_->failure.has_value();
  }
  shared_->changed.notify_all();
  // A store that is gone can keep the thread for long.
  if (failed) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

std::optional<std::string> PeerWatch::failure() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->failure;
}

std::string PeerWatch::find_out() {
  std::unique_lock lock(shared_->mutex);
  shared_->asked = true;
  shared_->changed.wait_for(lock, kPatience, [&] { return shared_->failure.has_value(); });
  if (!shared_->failure) shared_->failure = "the key-value store does not answer";
  return *shared_->failure;
}

void PeerWatch::report(const std::string& why) noexcept {
  try {
    std::unique_lock lock(shared_->mutex);
    shared_->own = fmt::format("rank {} failed: {}", shared_->launch.rank, why);
    shared_->changed.wait_for(lock, kPatience, [&] {
      return shared_->holds_store() ? shared_->told : shared_->failure.has_value();
    });
  } catch (...) {  // the others will notice that this rank is silent
  }
}

}  // namespace leash
