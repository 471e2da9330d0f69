// Who judges which pair next, for several people at once, while answers are still being sampled.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "experiments/label/label_folder.h"

namespace leash::label {

struct SessionOptions {
  std::vector<std::string> users;
  uint64_t seed = 0;    // key of which answer stands on the left, and of what is shared
  double shared = 1.0;  // part of the pairs that everybody judges; each other goes to one person
  int64_t most = INT64_MAX;  // pairs that are offered at all, the first ones of the folder
};

enum class Offer {
  pair,     // here is one
  waiting,  // its answers are being sampled
  done,     // there is none left for this person
  failed    // sampling broke down
};

struct Progress {
  int64_t judged = 0;   // by this person, skips aside
  int64_t skipped = 0;  // by this person
  int64_t left = 0;     // for them, what is not yet sampled included
  int64_t total() const { return judged + skipped + left; }
};

// What one person sees.
struct View {
  Offer offer = Offer::waiting;
  std::string pair;                          // id; empty without one, like all up to `comment`
  Json prompt;                               // a text or a list of messages
  Json left, right;                          // answers
  bool left_cut = false, right_cut = false;  // ended by the length, not by themselves
  std::string comment;                       // what they had said before they took it back
  std::string failure;
  Progress progress;
  bool can_undo = false;
};

// The pair is not the one that this person was shown, or is judged already (in another window).
class StalePair : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Every method may be called from any thread.
class LabelSession {
 public:
  // `folder` outlives it.
  LabelSession(LabelFolder& folder, SessionOptions options);

  // ---- people. std::out_of_range for somebody who is not in options.users; std::system_error
  // where the disk would not take what they said, which is then not said.
  View view(const std::string& user);
  // The same, but waits up to `milliseconds` while the answers are being sampled.
  View view_or_wait(const std::string& user, int64_t milliseconds);
  // On disk before it returns what is next. StalePair.
  View judge(const std::string& user, const std::string& pair, Verdict verdict,
             const std::string& comment);
  // Takes their last judgement back, where it is that of `pair` (empty: whichever), and shows its
  // pair again, as it stood. StalePair, also where there is none.
  View undo(const std::string& user, const std::string& pair);
  void finish(const std::string& user);  // they are done, pairs left or not
  // All are done, sampling failed, or it was stopped.
  bool over();

  // ---- who makes pairs
  void expect(int64_t more);  // how many will be added at most
  // `more`: how many will come behind these at most.
  void add(const std::vector<LabelPair>& pairs, int64_t more);
  void fail(const std::string& why);
  std::string failure();  // empty: none
  // Until somebody has fewer than `ahead` pairs before them: how many are missing. 0: stop.
  int64_t wait_until_wanted(int64_t ahead);
  void stop();
  bool stopped() const { return stopped_; }  // without a lock: asked for at every token

  // ---- who orders them
  // Pairs with a greater number come first; those without one after them, in the folder's order.
  void prioritise(std::unordered_map<std::string, double> priorities);
  // What somebody still has to judge, at most `most`.
  std::vector<LabelPair> open_pairs(size_t most);
  int64_t num_judged();  // by all, skips aside
  // Until there are `count` judgements; false when it is stopped before.
  bool wait_until_judged(int64_t count);

  // A copy of what is there, for statistics.
  struct State {
    std::vector<LabelPair> pairs;
    std::vector<Judgement> judgements;
  };
  State state();

 private:
  bool is_shared(const std::string& pair) const;
  bool open_to(const std::string& user, const LabelPair& pair) const;
  const LabelPair* choose(const std::string& user) const;
  int left_of(const std::string& user, const std::string& pair) const;
  int64_t available(const std::string& user) const;
  View look(const std::string& user);
  size_t num_offered() const;
  int64_t count_judged() const;
  void require_user(const std::string& user) const;

  LabelFolder& folder_;
  SessionOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> current_;   // the pair that a person was shown
  std::map<std::string, std::string> comments_;  // of what they took back
  std::unordered_map<std::string, double> priorities_;
  std::map<std::string, bool> finished_;
  int64_t expected_ = 0;
  std::string failure_;
  std::atomic<bool> stopped_ = false;
};

}  // namespace leash::label
