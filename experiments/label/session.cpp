#include "experiments/label/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "models/errors.h"
#include "models/random/random.h"

namespace leash::label {
namespace {

bool was_cut(const LabelAnswer& answer) {
  if (!answer.source.is_object()) return false;
  const auto stop = answer.source.find("stop");
  return stop != answer.source.end() && (*stop == "length" || *stop == "context");
}

}  // namespace

LabelSession::LabelSession(LabelFolder& folder, SessionOptions options)
    : folder_(folder), options_(std::move(options)) {
  for (const std::string& user : options_.users) finished_[user] = false;
}

void LabelSession::require_user(const std::string& user) const {
  if (!finished_.contains(user)) throw std::out_of_range("there is nobody of this name");
}

bool LabelSession::is_shared(const std::string& pair) const {
  return options_.users.size() < 2 ||
         draw_uniform({options_.seed, Purpose::shuffle, text_hash(pair), 0, 1}) < options_.shared;
}

// The same for a person and a pair, however often it is shown.
int LabelSession::left_of(const std::string& user, const std::string& pair) const {
  return draw_uniform({options_.seed, Purpose::shuffle, text_hash(pair), text_hash(user), 2}) < 0.5
             ? 0
             : 1;
}

bool LabelSession::open_to(const std::string& user, const LabelPair& pair) const {
  if (folder_.judgements().has(user, pair.id)) return false;
  return is_shared(pair.id) || !folder_.judgements().judged_by_others(user, pair.id);
}

size_t LabelSession::num_offered() const {
  return static_cast<size_t>(
      std::min<int64_t>(options_.most, static_cast<int64_t>(folder_.pairs().size())));
}

// What is before others now comes last, so that two people do not judge what is not shared.
const LabelPair* LabelSession::choose(const std::string& user) const {
  const LabelPair* best = nullptr;
  double best_rank = 0;
  for (size_t i = 0; i < num_offered(); ++i) {
    const LabelPair& pair = folder_.pairs()[i];
    if (!open_to(user, pair)) continue;
    const auto priority = priorities_.find(pair.id);
    double rank = priority == priorities_.end() ? std::numeric_limits<double>::lowest() / 4
                                                : priority->second;
    const bool taken = !is_shared(pair.id) && std::ranges::any_of(current_, [&](const auto& entry) {
      return entry.first != user && entry.second == pair.id;
    });
    if (taken) rank = std::numeric_limits<double>::lowest() / 2;
    if (best == nullptr || rank > best_rank) {
      best = &pair;
      best_rank = rank;
    }
  }
  return best;
}

int64_t LabelSession::available(const std::string& user) const {
  int64_t count = 0;
  for (size_t i = 0; i < num_offered(); ++i) {
    count += open_to(user, folder_.pairs()[i]) ? 1 : 0;
  }
  return count;
}

View LabelSession::look(const std::string& user) {
  View view;
  for (const auto& entry : folder_.judgements().of(user)) {
    ++(entry.judgement.verdict == Verdict::skip ? view.progress.skipped : view.progress.judged);
  }
  view.can_undo = !folder_.judgements().of(user).empty();
  view.progress.left = available(user) + expected_;
  std::string& current = current_[user];
  const LabelPair* pair = current.empty() ? nullptr : folder_.pair(current);
  if (pair == nullptr || folder_.judgements().has(user, current)) pair = choose(user);
  current = pair == nullptr ? "" : pair->id;
  if (pair == nullptr) {
    view.failure = failure_;
    view.offer = !failure_.empty() ? Offer::failed : expected_ > 0 ? Offer::waiting : Offer::done;
    return view;
  }
  const auto left = static_cast<size_t>(left_of(user, pair->id));
  const LabelAnswer &shown_left = pair->answers[left], &shown_right = pair->answers[1 - left];
  view.offer = Offer::pair;
  view.pair = pair->id;
  view.prompt = pair->prompt;
  view.left = shown_left.content;
  view.right = shown_right.content;
  view.left_cut = was_cut(shown_left);
  view.right_cut = was_cut(shown_right);
  if (const auto comment = comments_.find(user + "\n" + pair->id); comment != comments_.end()) {
    view.comment = comment->second;
  }
  return view;
}

View LabelSession::view(const std::string& user) { return view_or_wait(user, 0); }

View LabelSession::view_or_wait(const std::string& user, int64_t milliseconds) {
  std::unique_lock lock(mutex_);
  require_user(user);
  View seen = look(user);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (seen.offer == Offer::waiting && !stopped_ &&
         changed_.wait_until(lock, until) == std::cv_status::no_timeout) {
    seen = look(user);
  }
  return seen;
}

View LabelSession::judge(const std::string& user, const std::string& pair, Verdict verdict,
                         const std::string& comment) {
  const std::lock_guard lock(mutex_);
  require_user(user);
  if (pair.empty() || current_[user] != pair || folder_.judgements().has(user, pair)) {
    throw StalePair("this pair is not the one that is shown");
  }
  folder_.add({.undo = false,
               .judgement = {.user = user,
                             .pair = pair,
                             .verdict = verdict,
                             .left = left_of(user, pair),
                             .comment = comment,
                             .time = time_now()}});
  comments_.erase(user + "\n" + pair);
  changed_.notify_all();
  return look(user);
}

View LabelSession::undo(const std::string& user, const std::string& pair) {
  const std::lock_guard lock(mutex_);
  require_user(user);
  const auto& own = folder_.judgements().of(user);
  if (own.empty()) throw StalePair("there is nothing to take back");
  const Judgement last = own.back().judgement;
  if (!pair.empty() && pair != last.pair) throw StalePair("another pair was judged last");
  folder_.add({.undo = true,
               .judgement = {.user = user, .pair = last.pair, .comment = {}, .time = time_now()}});
  current_[user] = last.pair;
  comments_[user + "\n" + last.pair] = last.comment;
  finished_[user] = false;
  changed_.notify_all();
  return look(user);
}

void LabelSession::finish(const std::string& user) {
  const std::lock_guard lock(mutex_);
  require_user(user);
  finished_[user] = true;
  changed_.notify_all();
}

bool LabelSession::over() {
  const std::lock_guard lock(mutex_);
  return stopped_ || std::ranges::all_of(finished_, [](const auto& user) { return user.second; });
}

void LabelSession::expect(int64_t more) {
  const std::lock_guard lock(mutex_);
  expected_ = more;
  changed_.notify_all();
}

void LabelSession::add(const std::vector<LabelPair>& pairs, int64_t more) {
  const std::lock_guard lock(mutex_);
  folder_.add(pairs);
  expected_ = more;
  changed_.notify_all();
}

void LabelSession::fail(const std::string& why) {
  const std::lock_guard lock(mutex_);
  failure_ = why;
  changed_.notify_all();
}

std::string LabelSession::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

int64_t LabelSession::wait_until_wanted(int64_t ahead) {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    int64_t least = INT64_MAX;
    for (const std::string& user : options_.users) least = std::min(least, available(user));
    if (least < ahead) return ahead - least;
    changed_.wait(lock);
  }
  return 0;
}

void LabelSession::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

void LabelSession::prioritise(std::unordered_map<std::string, double> priorities) {
  const std::lock_guard lock(mutex_);
  priorities_ = std::move(priorities);
}

std::vector<LabelPair> LabelSession::open_pairs(size_t most) {
  const std::lock_guard lock(mutex_);
  std::vector<LabelPair> open;
  for (size_t i = 0; i < num_offered() && open.size() < most; ++i) {
    const LabelPair& pair = folder_.pairs()[i];
    const bool wanted = std::ranges::any_of(
        options_.users, [&](const std::string& user) { return open_to(user, pair); });
    if (wanted) open.push_back(pair);
  }
  return open;
}

int64_t LabelSession::count_judged() const {
  int64_t count = 0;
  for (const std::string& user : folder_.judgements().users()) {
    for (const auto& entry : folder_.judgements().of(user)) {
      count += entry.judgement.verdict == Verdict::skip ? 0 : 1;
    }
  }
  return count;
}

int64_t LabelSession::num_judged() {
  const std::lock_guard lock(mutex_);
  return count_judged();
}

bool LabelSession::wait_until_judged(int64_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || count_judged() >= count; });
  return !stopped_;
}

LabelSession::State LabelSession::state() {
  const std::lock_guard lock(mutex_);
  return {folder_.pairs(), folder_.judgements().all()};
}

}  // namespace leash::label
