#include "experiments/label/judgement.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <set>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/printable.h"

namespace leash::label {
namespace {

constexpr size_t kMostTime = 40;

std::string text_at(const Json& json, const char* key, size_t most) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) {
    throw FormatError(fmt::format("`{}` has to be a text", key));
  }
  std::string text = found->get<std::string>();
  if (text.size() > most) {
    throw FormatError(
        fmt::format("`{}` has {} bytes, at most {} are taken", key, text.size(), most));
  }
  return text;
}

void check_keys(const Json& json, const std::set<std::string_view>& known) {
  for (const auto& [key, value] : json.items()) {
    if (!known.contains(key)) throw FormatError(fmt::format("unknown key {}", brief(key)));
  }
}

Judgement judgement_of(const Json& json, bool undo) {
  Judgement judgement;
  judgement.user = text_at(json, "user", kMostName);
  if (const std::string problem = name_problem(judgement.user); !problem.empty()) {
    throw FormatError("`user` " + problem);
  }
  judgement.pair = text_at(json, "pair", 16);
  judgement.time = text_at(json, "time", kMostTime);
  if (undo) return judgement;
  const std::string verdict = text_at(json, "verdict", 16);
  const std::optional<Verdict> known = verdict_of(verdict);
  if (!known) throw FormatError(fmt::format("unknown verdict {}", brief(verdict)));
  judgement.verdict = *known;
  const auto left = json.find("left");
  if (left == json.end() || !left->is_number_integer() || (*left != 0 && *left != 1)) {
    throw FormatError("`left` has to be 0 or 1");
  }
  judgement.left = left->get<int>();
  if (json.contains("comment")) judgement.comment = text_at(json, "comment", kMostComment);
  return judgement;
}

}  // namespace

std::optional<Verdict> verdict_of(std::string_view name) {
  for (const auto& [verdict, known] : EnumNames<Verdict>::values) {
    if (known == name) return verdict;
  }
  return std::nullopt;
}

std::string event_line(const JournalEvent& event) {
  const Judgement& judgement = event.judgement;
  Json json = {
      {"event", event.undo ? "undo" : "judge"}, {"user", judgement.user}, {"pair", judgement.pair}};
  if (!event.undo) {
    json["verdict"] = enum_name(judgement.verdict);
    json["left"] = judgement.left;
    if (!judgement.comment.empty()) json["comment"] = judgement.comment;
  }
  json["time"] = judgement.time;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

JournalEvent parse_event(std::string_view line, const std::string& origin) {
  const Json json = parse_ordered_json(line, origin);
  try {
    if (!json.is_object()) throw FormatError("is not a JSON object");
    const std::string event = text_at(json, "event", 16);
    if (event != "judge" && event != "undo") {
      throw FormatError(fmt::format("unknown event {}", brief(event)));
    }
    const bool undo = event == "undo";
    check_keys(json, undo ? std::set<std::string_view>{"event", "user", "pair", "time"}
                          : std::set<std::string_view>{"event", "user", "pair", "verdict", "left",
                                                       "comment", "time"});
    return {.undo = undo, .judgement = judgement_of(json, undo)};
  } catch (const FormatError& error) {
    throw FormatError(fmt::format("{}: {}", origin, error.what()));
  }
}

std::string name_problem(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kMostName) return fmt::format("has more than {} bytes", kMostName);
  if (name.front() == ' ' || name.back() == ' ') return "begins or ends with a space";
  if (printable(name) != name) return "has characters that cannot be shown";
  return "";
}

std::string time_now() {
  using namespace std::chrono;
  const auto now = time_point_cast<milliseconds>(system_clock::now()).time_since_epoch().count();
  const std::time_t seconds = now / 1000;
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", text, now % 1000);
}

void Judgements::apply(const JournalEvent& event) {
  const Judgement& judgement = event.judgement;
  std::vector<Entry>& own = by_user_[judgement.user];
  if (!event.undo) {
    if (!by_pair_[judgement.pair].emplace(judgement.user, judgement.verdict).second) {
      throw FormatError(fmt::format("{} judged the pair {} before", brief(judgement.user),
                                    brief(judgement.pair)));
    }
    own.push_back({next_++, judgement});
    return;
  }
  if (own.empty() || own.back().judgement.pair != judgement.pair) {
    throw FormatError(fmt::format("the pair {} is not what {} judged last", brief(judgement.pair),
                                  brief(judgement.user)));
  }
  by_pair_[judgement.pair].erase(judgement.user);
  own.pop_back();
}

const std::vector<Judgements::Entry>& Judgements::of(const std::string& user) const {
  static const std::vector<Entry> none;
  const auto found = by_user_.find(user);
  return found == by_user_.end() ? none : found->second;
}

bool Judgements::has(const std::string& user, const std::string& pair) const {
  const auto found = by_pair_.find(pair);
  return found != by_pair_.end() && found->second.contains(user);
}

bool Judgements::judged_by_others(const std::string& user, const std::string& pair) const {
  const auto found = by_pair_.find(pair);
  if (found == by_pair_.end()) return false;
  return std::ranges::any_of(found->second, [&](const auto& entry) {
    return entry.first != user && entry.second != Verdict::skip;
  });
}

std::vector<Judgement> Judgements::all() const {
  std::vector<Entry> entries;
  for (const auto& [user, own] : by_user_) entries.insert(entries.end(), own.begin(), own.end());
  std::ranges::sort(entries, {}, &Entry::order);
  std::vector<Judgement> judgements;
  for (Entry& entry : entries) judgements.push_back(std::move(entry.judgement));
  return judgements;
}

std::vector<std::string> Judgements::users() const {
  std::vector<std::string> users;
  for (const auto& [user, own] : by_user_) {
    if (!own.empty()) users.push_back(user);
  }
  return users;
}

}  // namespace leash::label
