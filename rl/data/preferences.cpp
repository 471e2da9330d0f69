#include "rl/data/preferences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "models/errors.h"
#include "models/grouped_digits.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/answer_encoder.h"
#include "rl/data/held_out.h"
#include "rl/data/jsonl.h"
#include "rl/data/pair_reader.h"

namespace leash {
namespace {

using Json = nlohmann::ordered_json;

// Numbers the prompts of the pairs that are kept, and counts.
void finish(PreferenceData& data) {
  PreferenceCounts& counts = data.counts;
  counts.pairs = static_cast<int64_t>(data.pairs.size());
  counts.tokens = counts.shared_tokens = counts.margins = counts.ties = 0;
  std::map<std::string_view, int64_t> numbers;
  for (PreferencePair& pair : data.pairs) {
    pair.prompt =
        numbers.emplace(pair.prompt_key, static_cast<int64_t>(numbers.size())).first->second;
    counts.tokens += pair.tokens();
    counts.shared_tokens += pair.common;
    counts.margins += pair.margin != 0 ? 1 : 0;
    counts.ties += pair.tie ? 1 : 0;
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

// What is right about a tie that nobody trains on?
void leave_out_ties(PreferenceData& eval) {
  eval.counts.dropped_ties += static_cast<int64_t>(std::erase_if(eval.pairs, &PreferencePair::tie));
  if (eval.pairs.empty() && eval.counts.lines > 0) {
    throw FormatError("the held-out pairs are ties alone, to which no answer is right");
  }
  finish(eval);
}

std::vector<std::string_view> keys_of_pairs(PairUse use) {
  std::vector<std::string_view> keys = {"prompt", "chosen",   "rejected",  "tools",
                                        "tie",    "both_bad", "judgement", "chat_template_kwargs"};
  keys.insert(keys.end(), std::begin(kAboutJudgements), std::end(kAboutJudgements));
  if (use == PairUse::scores) keys.emplace_back("margin");
  return keys;
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
  if (ties > 0) line += fmt::format("; {} are ties", grouped_digits(ties));
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
  if (dropped_ties > 0) line += fmt::format("; {} dropped: ties", grouped_digits(dropped_ties));
  if (dropped_bad > 0) line += fmt::format("; {} dropped: both bad", grouped_digits(dropped_bad));
  if (merged_borders > 0) {
    line += fmt::format(
        "; the end of {} prompts is tokenized otherwise in front of an answer, which begins where "
        "it differs",
        grouped_digits(merged_borders));
  }
  return line;
}

PreferenceData read_preferences(const std::filesystem::path& file, const Tokenizer& tokenizer,
                                const PreferenceDataConfig& config, int64_t context, PairUse use) {
  PairReader reader(tokenizer, config, context, use);
  for_each_json_line(file, {keys_of_pairs(use)},
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
                                             uint64_t seed, PairUse use) {
  PreferenceDataSets sets;
  read_both([&] { sets.train = read_preferences(config.train, tokenizer, config, context, use); },
            [&] {
              if (config.eval) {
                sets.eval = read_preferences(*config.eval, tokenizer, config, context, use);
              }
            });
  if (!config.eval && config.eval_split > 0) {
    sets.eval = hold_out(sets.train, config.eval_split, seed);
  }
  leave_out_ties(sets.eval);
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
