#include "experiments/label/preference_row.h"

#include <fmt/format.h>

#include "models/errors.h"
#include "models/io/json_file.h"

namespace leash::label {
namespace {

bool flag(const Json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || found->is_null()) return false;
  if (!found->is_boolean()) throw FormatError(fmt::format("`{}` has to be true or false", key));
  return found->get<bool>();
}

std::string row_text(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    throw FormatError(fmt::format("`judgement.{}` has to be a text", key));
  }
  return found->get<std::string>();
}

Json source_at(const Json& judgement, const char* key) {
  const auto found = judgement.find(key);
  if (found == judgement.end() || found->is_null()) return {};
  if (!found->is_object()) {
    throw FormatError(fmt::format("`judgement.{}` has to be an object", key));
  }
  return *found;
}

}  // namespace

std::optional<Json> preference_row(const LabelPair& pair, const Judgement& judgement) {
  if (judgement.verdict == Verdict::skip) return std::nullopt;
  const int chosen = judgement.preferred().value_or(judgement.left);
  const LabelAnswer& better = pair.answers[static_cast<size_t>(chosen)];
  const LabelAnswer& worse = pair.answers[static_cast<size_t>(1 - chosen)];
  Json row = {{"prompt", pair.prompt}, {"chosen", better.content}, {"rejected", worse.content}};
  if (!pair.options.is_null()) row.update(pair.options);
  if (judgement.verdict == Verdict::tie) row["tie"] = true;
  if (judgement.verdict == Verdict::both_bad) row["both_bad"] = true;
  Json said = {{"user", judgement.user}, {"time", judgement.time}};
  if (!judgement.comment.empty()) said["comment"] = judgement.comment;
  said["pair"] = pair.id;
  said["chosen_shown"] = chosen == judgement.left ? "left" : "right";
  if (!better.source.is_null()) said["chosen_source"] = better.source;
  if (!worse.source.is_null()) said["rejected_source"] = worse.source;
  row["judgement"] = std::move(said);
  return row;
}

JudgedRow judged_row(const Json& row) {
  const auto judgement = row.find("judgement");
  if (judgement == row.end() || !judgement->is_object()) {
    throw FormatError("has no `judgement`: it was not written by `leash label`");
  }
  const Json& said = *judgement;
  Json json = {{"pair", row_text(said, "pair")}, {"answers", Json::array()}};
  for (const char* key : {"prompt", "chosen", "rejected"}) {
    if (!row.contains(key)) throw FormatError(fmt::format("`{}` is missing", key));
  }
  json["prompt"] = row["prompt"];
  for (const char* key : {"chosen", "rejected"}) {
    Json answer = {{"content", row[key]}};
    const Json source =
        source_at(said, key == std::string("chosen") ? "chosen_source" : "rejected_source");
    if (!source.is_null()) answer["source"] = source;
    json["answers"].push_back(std::move(answer));
  }
  for (const char* key : {"tools", "chat_template_kwargs"}) {
    if (const auto found = row.find(key); found != row.end() && !found->is_null()) {
      json["options"][key] = *found;
    }
  }
  JudgedRow read{.pair = pair_of(json), .judgement = {}};
  const int chosen = read.pair.answers[0].content == row["chosen"] ? 0 : 1;
  const std::string shown = row_text(said, "chosen_shown");
  if (shown != "left" && shown != "right") {
    throw FormatError("`judgement.chosen_shown` has to be left or right");
  }
  const bool tie = flag(row, "tie"), both_bad = flag(row, "both_bad");
  if (tie && both_bad) throw FormatError("is a tie and both bad at once");
  read.judgement.user = row_text(said, "user");
  if (const std::string problem = name_problem(read.judgement.user); !problem.empty()) {
    throw FormatError("`judgement.user` " + problem);
  }
  read.judgement.time = row_text(said, "time");
  read.judgement.comment = said.contains("comment") ? row_text(said, "comment") : "";
  read.judgement.pair = read.pair.id;
  read.judgement.left = shown == "left" ? chosen : 1 - chosen;
  read.judgement.verdict = tie               ? Verdict::tie
                           : both_bad        ? Verdict::both_bad
                           : shown == "left" ? Verdict::left
                                             : Verdict::right;
  return read;
}

}  // namespace leash::label
