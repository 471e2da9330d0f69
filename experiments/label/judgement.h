// What a person says of a pair, and how a log of it is read and written.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiments/label/pair.h"
#include "models/fields.h"

namespace leash::label {

// `left` and `right` are as shown. A skipped pair is not judged: nothing is written of it but the
// log's line, and it does not come again.
enum class Verdict { left, right, tie, both_bad, skip };

}  // namespace leash::label

namespace leash {
template <>
struct EnumNames<label::Verdict> {
  static constexpr std::pair<label::Verdict, std::string_view> values[] = {
      {label::Verdict::left, "left"},
      {label::Verdict::right, "right"},
      {label::Verdict::tie, "tie"},
      {label::Verdict::both_bad, "both_bad"},
      {label::Verdict::skip, "skip"}};
};
}  // namespace leash

namespace leash::label {

std::optional<Verdict> verdict_of(std::string_view name);

inline constexpr size_t kMostComment = 4000;  // bytes
inline constexpr size_t kMostName = 64;       // bytes of a person's name

struct Judgement {
  std::string user;
  std::string pair;  // its id
  Verdict verdict = Verdict::skip;
  int left = 0;         // which of the pair's two answers stood on the left
  std::string comment;  // may be empty
  std::string time;     // UTC, 2026-12-01T02:55:31.123Z
  // Which of the pair's two answers was preferred; nothing for the other verdicts.
  std::optional<int> preferred() const {
    if (verdict == Verdict::left) return left;
    if (verdict == Verdict::right) return 1 - left;
    return std::nullopt;
  }
};

// A line of judgements.jsonl: a judgement, or that its person took their last one back.
struct JournalEvent {
  bool undo = false;
  Judgement judgement;  // of an undo: user, pair and time
};
std::string event_line(const JournalEvent& event);  // with its line break
// FormatError says what is wrong with it.
JournalEvent parse_event(std::string_view line, const std::string& origin);

// Of people's names: not empty, at most kMostName bytes of printable UTF-8 without spaces around.
// Empty where the name is fine, else what is wrong with it.
std::string name_problem(std::string_view name);

// The time now, as a judgement holds it.
std::string time_now();

// The judgements that hold, after all events so far.
class Judgements {
 public:
  struct Entry {
    uint64_t order = 0;  // of all judgements; the newest has the greatest
    Judgement judgement;
  };

  // FormatError where the event cannot follow what was before: a pair judged twice by one person,
  // or something taken back that is not their last.
  void apply(const JournalEvent& event);
  // Their judgements, the newest last.
  const std::vector<Entry>& of(const std::string& user) const;
  bool has(const std::string& user, const std::string& pair) const;
  // Whether anybody but `user` judged the pair, skips aside.
  bool judged_by_others(const std::string& user, const std::string& pair) const;
  // Everybody's, in the order in which they were given.
  std::vector<Judgement> all() const;
  std::vector<std::string> users() const;

 private:
  uint64_t next_ = 0;
  std::map<std::string, std::vector<Entry>> by_user_;
  std::map<std::string, std::map<std::string, Verdict>> by_pair_;  // pair, user
};

}  // namespace leash::label
