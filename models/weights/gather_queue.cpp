#include "models/weights/gather_queue.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace leash {
namespace {

class LoneGatherer final : public WeightGatherer {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  std::vector<int64_t> exchange(int64_t own) override { return {own}; }
  at::Tensor gather(const at::Tensor& own) override { return own; }
  void cancel() noexcept override {}
};

// What a rank says before each gather: a unit, and whether it only would like to have it ahead.
constexpr int64_t kLeft = -1;  // nothing is left to compute, nor to fetch
int64_t said(int64_t unit, bool ahead) { return 2 * unit + (ahead ? 1 : 0); }
bool is_ahead(int64_t word) { return word % 2 == 1; }

// What all ranks gather next: what the lowest rank needs at once, else what one would like to have
// ahead; none where all have left. The same on all ranks.
std::optional<int64_t> chosen(const std::vector<int64_t>& words) {
  const auto needed =
      std::ranges::find_if(words, [](int64_t word) { return word != kLeft && !is_ahead(word); });
  if (needed != words.end()) return *needed / 2;
  const auto liked = std::ranges::find_if(words, [](int64_t word) { return word != kLeft; });
  if (liked != words.end()) return *liked / 2;
  return std::nullopt;
}

}  // namespace

std::unique_ptr<WeightGatherer> lone_gatherer() { return std::make_unique<LoneGatherer>(); }

GatherQueue::GatherQueue(std::unique_ptr<WeightGatherer> gatherer)
    : gatherer_(std::move(gatherer)), thread_([this] { run(); }) {}

GatherQueue::~GatherQueue() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  gatherer_->cancel();
  thread_.join();
}

int64_t GatherQueue::add(at::Tensor own) {
  TORCH_CHECK(own.dim() == 1 && own.is_contiguous(), "a part of a unit is one contiguous row");
  finish_current_stream(own.device());  // the thread reads it on another one
  const std::lock_guard lock(mutex_);
  own_.push_back(std::move(own));
  return static_cast<int64_t>(own_.size()) - 1;
}

at::Tensor GatherQueue::acquire(int64_t unit) {
  std::unique_lock lock(mutex_);
  check();
  TORCH_CHECK(unit >= 0 && unit < static_cast<int64_t>(own_.size()), "there is no unit ", unit);
  std::optional<int64_t> next = expect_after(unit);
  if (!inside_) next.reset();
  drop_others(unit, next);
  const RequestPtr wanted = request(unit, /*ahead=*/false);
  if (next) request(*next, /*ahead=*/true);
  changed_.notify_all();
  if (!wanted->whole.defined()) {
    ++counts_.waits;
    changed_.wait(lock, [&] { return error_ != nullptr || wanted->whole.defined(); });
    check();
  }
  wanted->readers.add(wanted->whole);
  return wanted->whole;
}

void GatherQueue::begin_pass() {
  const std::lock_guard lock(mutex_);
  forget_place();
}

void GatherQueue::enter(Keep keep) {
  const std::lock_guard lock(mutex_);
  check();
  TORCH_CHECK(!inside_, "one scope at a time");
  inside_ = true;
  keep_ = keep;
}

void GatherQueue::leave() {
  std::unique_lock lock(mutex_);
  TORCH_CHECK(inside_, "leave() without enter()");
  leaving_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return error_ != nullptr || !leaving_; });
  inside_ = false;
  keep_ = Keep::next;
  if (error_ == nullptr) {
    for (const auto& [unit, request] : held_) let_go(*request);
  }
  held_.clear();
  forget_place();
  check();
}

GatherQueue::Counts GatherQueue::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

int64_t GatherQueue::held_bytes() const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [unit, request] : held_) {
    if (request->whole.defined()) bytes += static_cast<int64_t>(request->whole.nbytes());
  }
  return bytes;
}

// The thread. It sleeps while this rank wants nothing and has not left; others then wait for it.
void GatherQueue::run() {
  OwnStreams streams;
  std::unique_lock lock(mutex_);
  try {
    while (true) {
      changed_.wait(lock, [&] { return stop_ || leaving_ || !waiting_.empty(); });
      if (stop_) return;
      const int64_t word = wish();
      lock.unlock();
      const std::optional<int64_t> unit = chosen(gatherer_->exchange(word));
      if (!unit) {
        lock.lock();
        leaving_ = false;
        changed_.notify_all();
        continue;
      }
      lock.lock();
      TORCH_CHECK(*unit < static_cast<int64_t>(own_.size()),
                  "another rank has loaded other models than this one");
      const at::Tensor own = own_[static_cast<size_t>(*unit)];
      const std::vector<c10::Event> dropped = std::exchange(dropped_, {});
      lock.unlock();
      for (const c10::Event& end : dropped) end.synchronize();
      const at::Tensor whole = streams.run(own.device(), [&] { return gatherer_->gather(own); });
      lock.lock();
      deliver(*unit, whole);
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

// A unit that is waited for goes before one that is only expected.
int64_t GatherQueue::wish() const {
  if (waiting_.empty()) return kLeft;
  const auto needed =
      std::ranges::find_if(waiting_, [](const RequestPtr& request) { return !request->ahead; });
  const Request& first = needed != waiting_.end() ? **needed : *waiting_.front();
  return said(first.unit, first.ahead);
}

GatherQueue::RequestPtr GatherQueue::request(int64_t unit, bool ahead) {
  RequestPtr& request = held_[unit];
  if (request == nullptr) {
    request = std::make_shared<Request>(Request{.unit = unit, .ahead = ahead});
    waiting_.push_back(request);
  }
  request->ahead = request->ahead && ahead;
  return request;
}

// Notes that `unit` is in use, and what is to be expected next.
std::optional<int64_t> GatherQueue::expect_after(int64_t unit) {
  if (unit != current_) {
    if (current_ >= 0) successors_[{before_, current_}] = unit;
    before_ = current_;
    current_ = unit;
  }
  const auto found = successors_.find({before_, current_});
  if (found == successors_.end()) return std::nullopt;
  return found->second;
}

// Memory goes before new memory comes. What is not here yet stays asked for: others may have heard.
void GatherQueue::drop_others(int64_t unit, std::optional<int64_t> next) {
  if (keep_ == Keep::all) return;
  std::erase_if(held_, [&](const auto& entry) {
    const bool goes = entry.first != unit && entry.first != next && entry.second->whole.defined();
    if (goes) let_go(*entry.second);
    return goes;
  });
}

// What was given to the readers' streams so far does not wait for any gather: all that it reads is
// here. So the thread may wait for it.
void GatherQueue::let_go(const Request& request) {
  for (c10::Event& end : request.readers.ends()) dropped_.push_back(std::move(end));
}

void GatherQueue::deliver(int64_t unit, const at::Tensor& whole) {
  ++counts_.gathers;
  counts_.bytes += static_cast<int64_t>(whole.nbytes()) / size() * (size() - 1);
  const auto found =
      std::ranges::find_if(waiting_, [&](const RequestPtr& each) { return each->unit == unit; });
  if (found == waiting_.end()) {
    ++counts_.joined;
    return;
  }
  (*found)->whole = whole;
  waiting_.erase(found);
  changed_.notify_all();
}

// Nothing followed the last unit, whatever was expected.
void GatherQueue::forget_place() {
  successors_.erase({before_, current_});
  before_ = current_ = -1;
}

void GatherQueue::check() const {
  if (error_ != nullptr) std::rethrow_exception(error_);
}

}  // namespace leash
