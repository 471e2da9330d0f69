#include "experiments/label/pair.h"

#include <fmt/format.h>

#include <set>
#include <string_view>
#include <utility>

#include "models/errors.h"
#include "rl/data/jsonl.h"

namespace leash::label {
namespace {

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_messages(const Json& value) { return value.is_array(); }

// A text, or messages that a chat template could read.
void check_content(const Json& value, const char* name) {
  if (value.is_string()) return;
  if (!is_messages(value)) {
    throw FormatError(fmt::format("`{}` has to be a text, or a list of messages", name));
  }
  (void)messages_of(value, name);
}

// FormatError where an answer does not go with its prompt, whatever training would make of it.
void check_answer(const Json& prompt, const Json& answer, const char* name) {
  check_content(answer, name);
  if (is_messages(prompt) != is_messages(answer)) {
    throw FormatError(fmt::format("`prompt` and `{}` have to be both texts, or both lists", name));
  }
  if (is_messages(answer) && messages_of(answer, name).back().role != "assistant") {
    throw FormatError(fmt::format("`{}` has to end with a message of the assistant", name));
  }
}

const Json& at(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) throw FormatError(fmt::format("`{}` is missing", key));
  return *found;
}

Json options_of(const Json& record) {
  (void)chat_options_of(record);
  Json options;
  for (const char* key : {"tools", "chat_template_kwargs"}) {
    const auto found = record.find(key);
    if (found != record.end() && !found->is_null()) options[key] = *found;
  }
  return options;
}

// The answers of a line that a person brings.
std::vector<Json> given_answers(const Json& record) {
  const bool list = record.contains("answers");
  if (list == (record.contains("chosen") || record.contains("rejected"))) {
    throw FormatError("needs either `answers`, or `chosen` and `rejected`");
  }
  if (!list) return {at(record, "chosen"), at(record, "rejected")};
  const Json& answers = record["answers"];
  if (!answers.is_array() || answers.size() < 2) {
    throw FormatError("`answers` has to be a list of at least two");
  }
  return {answers.begin(), answers.end()};
}

}  // namespace

uint64_t text_hash(std::string_view text, uint64_t before) {
  uint64_t hash = before;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

LabelPair label_pair(Json prompt, LabelAnswer a, LabelAnswer b, Json options, int64_t sample) {
  if (text_of(b.content) < text_of(a.content)) std::swap(a, b);
  uint64_t hash = text_hash(text_of(prompt));
  for (const Json* part : {&a.content, &b.content, &options}) {
    hash = text_hash(text_of(*part), text_hash("\n", hash));
  }
  return {.id = fmt::format("{:016x}", hash),
          .prompt = std::move(prompt),
          .answers = {std::move(a), std::move(b)},
          .options = std::move(options),
          .sample = sample};
}

std::string shown_text(const Json& content, bool roles) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  for (const ChatMessage& message : messages_of(content, "messages")) {
    if (!text.empty()) text += roles ? "\n\n" : "\n";
    text += roles ? message.role + ":\n" + message.content : message.content;
  }
  return text;
}

Json pair_json(const LabelPair& pair) {
  Json json = {{"pair", pair.id}, {"prompt", pair.prompt}, {"answers", Json::array()}};
  for (const LabelAnswer& answer : pair.answers) {
    Json entry = {{"content", answer.content}};
    if (!answer.source.is_null()) entry["source"] = answer.source;
    json["answers"].push_back(std::move(entry));
  }
  if (!pair.options.is_null()) json["options"] = pair.options;
  if (pair.sample >= 0) json["sample"] = pair.sample;
  return json;
}

LabelPair pair_of(const Json& json) {
  if (!json.is_object()) throw FormatError("is not a JSON object");
  const Json& prompt = at(json, "prompt");
  check_content(prompt, "prompt");
  const Json& answers = at(json, "answers");
  if (!answers.is_array() || answers.size() != 2) throw FormatError("`answers` has to be two");
  std::array<LabelAnswer, 2> read;
  for (size_t i = 0; i < 2; ++i) {
    if (!answers[i].is_object()) throw FormatError("`answers` has to be two objects");
    read[i].content = at(answers[i], "content");
    check_answer(prompt, read[i].content, "content");
    if (const auto source = answers[i].find("source"); source != answers[i].end()) {
      if (!source->is_object()) throw FormatError("`source` has to be an object");
      read[i].source = *source;
    }
  }
  Json options;
  if (const auto found = json.find("options"); found != json.end()) {
    if (!found->is_object()) throw FormatError("`options` has to be an object");
    options = options_of(*found);
  }
  int64_t sample = -1;
  if (const auto found = json.find("sample"); found != json.end()) {
    if (!found->is_number_integer() || found->get<int64_t>() < 0) {
      throw FormatError("`sample` has to be a whole number from 0 on");
    }
    sample = found->get<int64_t>();
  }
  LabelPair pair = label_pair(prompt, read[0], read[1], std::move(options), sample);
  const Json& id = at(json, "pair");
  if (id != pair.id) {
    throw FormatError(fmt::format("`pair` is {}, but prompt and answers are those of {}",
                                  text_of(id).substr(0, 80), pair.id));
  }
  return pair;
}

GivenPairs read_given_pairs(const std::filesystem::path& file) {
  GivenPairs given;
  std::set<std::string> ids;
  const auto add = [&](const Json& prompt, const Json& a, const Json& b, const Json& options) {
    if (a == b) {
      ++given.equal;
      return;
    }
    LabelPair pair = label_pair(prompt, {a}, {b}, options, -1);
    if (!ids.insert(pair.id).second) {
      ++given.repeated;
    } else {
      given.pairs.push_back(std::move(pair));
    }
  };
  for_each_json_line(file,
                     {{"prompt", "answers", "chosen", "rejected", "tools", "chat_template_kwargs",
                       "tie", "both_bad", "judgement", "margin"}},
                     [&](const Json& record, int64_t) {
                       const Json& prompt = at(record, "prompt");
                       check_content(prompt, "prompt");
                       const std::vector<Json> answers = given_answers(record);
                       for (const Json& answer : answers) {
                         check_answer(prompt, answer,
                                      record.contains("answers") ? "answers" : "chosen");
                       }
                       const Json options = options_of(record);
                       for (size_t i = 0; i < answers.size(); ++i) {
                         for (size_t j = i + 1; j < answers.size(); ++j) {
                           add(prompt, answers[i], answers[j], options);
                         }
                       }
                     });
  if (given.pairs.empty()) {
    throw FormatError(fmt::format("{}: holds no pair of answers that differ", file.string()));
  }
  return given;
}

}  // namespace leash::label
