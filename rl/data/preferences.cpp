#include "rl/data/preferences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>

#include "models/errors.h"
#include "models/grouped_digits.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/encode.h"
#include "rl/data/held_out.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

using Json = nlohmann::ordered_json;

int64_t size_of(const std::vector<int64_t>& ids) { return static_cast<int64_t>(ids.size()); }

// Reads one line after the other and counts what happens to them.
class PairReader {
 public:
  PairReader(const Tokenizer& tokenizer, const PreferenceDataConfig& config, int64_t context)
      : tokenizer_(tokenizer),
        config_(config),
        ending_(ending_of(config)),
        max_length_(std::min(config.max_length.value_or(context), context)) {}

  void read(const Json& json, int64_t line) {
    PreferencePair pair = pair_of(json);
    pair.margin = margin_of(json);
    pair.line = line;
    pair.id = static_cast<uint64_t>(data_.counts.lines++);
    if (pair.chosen == pair.rejected) throw FormatError("chosen and rejected are the same");
    if (!fit(pair)) return;
    // Both keep a token of their own, whose row has the score.
    pair.common = std::min(common_prefix(pair.chosen, pair.rejected),
                           std::min(size_of(pair.chosen), size_of(pair.rejected)) - 1);
    data_.pairs.push_back(std::move(pair));
  }
  PreferenceData take() { return std::move(data_); }

 private:
  PreferencePair pair_of(const Json& json) {
    const auto find = [&](const char* key) {
      const auto found = json.find(key);
      return found == json.end() ? nullptr : &*found;
    };
    const Json *prompt = find("prompt"), *chosen = find("chosen"), *rejected = find("rejected");
    if (chosen == nullptr || rejected == nullptr) {
      throw FormatError("needs `chosen` and `rejected` (and a `prompt` where they do not have it)");
    }
    const auto all = [&](auto is) {
      return is(*chosen) && is(*rejected) && (prompt == nullptr || is(*prompt));
    };
    if (all([](const Json& value) { return value.is_string(); })) {
      return texts(prompt, *chosen, *rejected);
    }
    if (all([](const Json& value) { return value.is_array(); })) {
      options_ = chat_options_of(json);
      return chats(prompt, messages_of(*chosen, "chosen"), messages_of(*rejected, "rejected"));
    }
    throw FormatError(
        fmt::format("{}`chosen` and `rejected` have to be all texts, or all lists of "
                    "messages",
                    prompt != nullptr ? "`prompt`, " : ""));
  }

  static double margin_of(const Json& json) {
    const auto found = json.find("margin");
    if (found == json.end() || found->is_null()) return 0;
    if (!found->is_number() || !std::isfinite(found->get<double>())) {
      throw FormatError("`margin` has to be a finite number");
    }
    return found->get<double>();
  }

  PreferencePair texts(const Json* prompt, const std::string& chosen,
                       const std::string& rejected) const {
    PreferencePair pair;
    pair.prompt_text =
        prompt != nullptr ? prompt->get<std::string>() : shared_text(chosen, rejected);
    pair.prompt_key = pair.prompt_text;
    const size_t inside = prompt != nullptr ? 0 : pair.prompt_text.size();
    pair.chosen_text = chosen.substr(inside);
    pair.rejected_text = rejected.substr(inside);
    pair.chosen = encode(pair.prompt_text + pair.chosen_text);
    pair.rejected = encode(pair.prompt_text + pair.rejected_text);
    return pair;
  }

  // The prefix of both texts, so far that answers which begin alike still have the same prompt.
  static std::string shared_text(const std::string& a, const std::string& b) {
    const auto [end, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    const std::string common(a.begin(), end);
    const size_t line = common.rfind('\n');
    const size_t cut = line != std::string::npos ? line : common.rfind(' ');
    return common.substr(0, cut + 1);  // npos + 1 is 0
  }

  std::vector<int64_t> encode(const std::string& text) const {
    std::vector<int64_t> ids = encode_text(tokenizer_, text);
    end_text(ending_, tokenizer_, ids);
    if (ids.empty()) throw FormatError("a text without a token has no score");
    return ids;
  }

  PreferencePair chats(const Json* prompt, std::vector<ChatMessage> chosen,
                       std::vector<ChatMessage> rejected) const {
    check_chat_template(tokenizer_);
    size_t shared = 0;
    if (prompt != nullptr) {
      const std::vector<ChatMessage> asked = messages_of(*prompt, "prompt");
      shared = asked.size();
      chosen.insert(chosen.begin(), asked.begin(), asked.end());
      rejected.insert(rejected.begin(), asked.begin(), asked.end());
    } else {
      const auto equal = [](const ChatMessage& a, const ChatMessage& b) { return a == b; };
      const auto [end, ignored] =
          std::mismatch(chosen.begin(), chosen.end(), rejected.begin(), rejected.end(), equal);
      shared = static_cast<size_t>(end - chosen.begin());
    }
    PreferencePair pair;
    Json key = Json::array();
    for (const ChatMessage& message : std::span(chosen).first(shared)) {
      key.push_back(message.json());
      if (message.role == "user") pair.prompt_text = message.content;
    }
    pair.prompt_key = key.dump(-1, ' ', false, Json::error_handler_t::replace);
    pair.chosen = chat(chosen, shared, "chosen", pair.chosen_text);
    pair.rejected = chat(rejected, shared, "rejected", pair.rejected_text);
    return pair;
  }

  std::vector<int64_t> chat(std::span<const ChatMessage> messages, size_t shared, const char* name,
                            std::string& display) const {
    if (messages.size() == shared || messages.back().role != "assistant") {
      throw FormatError(fmt::format("`{}` has to end with a message of the assistant", name));
    }
    for (const ChatMessage& message : messages.subspan(shared)) {
      display += (display.empty() ? "" : "\n") + message.content;
    }
    std::vector<int64_t> ids =
        encode_chat(tokenizer_, messages, /*add_generation_prompt=*/false, options_);
    end_conversation(ending_, tokenizer_, ids);
    return ids;
  }

  // False when the pair is dropped.
  bool fit(PreferencePair& pair) {
    const int64_t longest = std::max(size_of(pair.chosen), size_of(pair.rejected));
    if (longest <= max_length_) return true;
    if (config_.truncation_mode == PairTruncation::drop) {
      ++data_.counts.dropped_long;
      return false;
    }
    ++data_.counts.truncated;
    for (std::vector<int64_t>* ids : {&pair.chosen, &pair.rejected}) {
      const int64_t excess = std::max<int64_t>(size_of(*ids) - max_length_, 0);
      data_.counts.cut_tokens += excess;
      if (config_.truncation_mode == PairTruncation::keep_start) {
        ids->resize(ids->size() - static_cast<size_t>(excess));
      } else {
        ids->erase(ids->begin(), ids->begin() + excess);
      }
    }
    if (pair.chosen != pair.rejected) return true;
    ++data_.counts.dropped_equal;
    return false;
  }

  const Tokenizer& tokenizer_;
  const PreferenceDataConfig& config_;
  TextEnding ending_;
  ChatOptions options_;  // of the record that is read
  int64_t max_length_;
  PreferenceData data_;
};

// Numbers the prompts of the pairs that are kept, and counts.
void finish(PreferenceData& data) {
  PreferenceCounts& counts = data.counts;
  counts.pairs = static_cast<int64_t>(data.pairs.size());
  counts.tokens = counts.shared_tokens = counts.margins = 0;
  std::map<std::string_view, int64_t> numbers;
  for (PreferencePair& pair : data.pairs) {
    pair.prompt =
        numbers.emplace(pair.prompt_key, static_cast<int64_t>(numbers.size())).first->second;
    counts.tokens += pair.tokens();
    counts.shared_tokens += pair.common;
    counts.margins += pair.margin != 0 ? 1 : 0;
  }
  counts.prompts = static_cast<int64_t>(numbers.size());
}

// Takes a part of the prompts away, with all their pairs, in the file's order.
PreferenceData hold_out(PreferenceData& train, double part, uint64_t seed) {
  const auto prompts = draw_held_out(train.counts.prompts, part, seed, "prompts");
  std::vector<bool> held;
  for (const PreferencePair& pair : train.pairs) held.push_back(prompts[pair.prompt]);
  PreferenceData eval;
  eval.pairs = take_held_out(train.pairs, held);
  finish(train);
  finish(eval);
  return eval;
}

}  // namespace

TextEnding ending_of(const PreferenceDataConfig& config) {
  return {.append_eos = config.append_eos, .end_at_eos = config.end_at_eos};
}

std::string PreferenceCounts::text() const {
  std::string line =
      fmt::format("{} pairs over {} prompts, {} tokens ({} of them shared by the two of a pair)",
                  grouped_digits(pairs), grouped_digits(prompts), grouped_digits(tokens),
                  grouped_digits(shared_tokens));
  if (margins > 0) line += fmt::format("; {} with a margin", grouped_digits(margins));
  if (truncated > 0) {
    line += fmt::format("; {} truncated by {} tokens in all", grouped_digits(truncated),
                        grouped_digits(cut_tokens));
  }
  if (dropped_long > 0) {
    line += fmt::format("; {} dropped: longer than max_length", grouped_digits(dropped_long));
  }
  if (dropped_equal > 0) {
    line += fmt::format("; {} dropped: equal where they were cut", grouped_digits(dropped_equal));
  }
  return line;
}

PreferenceData read_preferences(const std::filesystem::path& file, const Tokenizer& tokenizer,
                                const PreferenceDataConfig& config, int64_t context) {
  PairReader reader(tokenizer, config, context);
  for_each_json_line(file,
                     {{"prompt", "chosen", "rejected", "margin", "tools", "chat_template_kwargs"}},
                     [&](const Json& json, int64_t line) { reader.read(json, line); });
  PreferenceData data = reader.take();
  finish(data);
  if (data.counts.lines == 0) throw FormatError(file.string() + ": holds no pairs");
  if (data.pairs.empty()) {
    throw FormatError(fmt::format("{}: none of its {} pairs is left ({})", file.string(),
                                  data.counts.lines, data.counts.text()));
  }
  return data;
}

PreferenceDataSets read_preference_data_sets(const PreferenceDataConfig& config,
                                             const Tokenizer& tokenizer, int64_t context,
                                             uint64_t seed) {
  PreferenceDataSets sets;
  read_both([&] { sets.train = read_preferences(config.train, tokenizer, config, context); },
            [&] {
              if (config.eval) {
                sets.eval = read_preferences(*config.eval, tokenizer, config, context);
              }
            });
  if (!config.eval && config.eval_split > 0) {
    sets.eval = hold_out(sets.train, config.eval_split, seed);
  }
  return sets;
}

int64_t leaked_pairs(const PreferenceDataSets& sets) {
  std::set<std::string_view> prompts;
  for (const PreferencePair& pair : sets.train.pairs) prompts.insert(pair.prompt_key);
  return std::ranges::count_if(sets.eval.pairs, [&](const PreferencePair& pair) {
    return prompts.contains(pair.prompt_key);
  });
}

}  // namespace leash
