// All settings of a `data:` section, by what its records are: prompts, samples, pairs of answers,
// labelled texts. Names are those of TRL's configurations except where a comment says otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"
#include "rl/data/chat_config.h"

namespace leash {

enum class PromptTruncation { error, drop, keep_start, keep_end };
template <>
struct EnumNames<PromptTruncation> {
  static constexpr std::pair<PromptTruncation, std::string_view> values[] = {
      {PromptTruncation::error, "error"},
      {PromptTruncation::drop, "drop"},
      {PromptTruncation::keep_start, "keep_start"},
      {PromptTruncation::keep_end, "keep_end"}};
};

struct PromptDataConfig {
  std::filesystem::path train;
  std::optional<std::filesystem::path> eval;
  bool shuffle = true;
  int64_t max_prompt_length = 512;
  PromptTruncation truncation_mode = PromptTruncation::error;
  bool continue_final_message = false;
  ChatConfig chat = {};
};
template <class Config, class Visitor>
requires Describes<Config, PromptDataConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("train", c.train,
        "JSONL; prompts have `prompt` (raw text, or a list like `messages`) or `messages` (chat, "
        "templated)");
  visit("eval", c.eval, "held-out JSONL of the same form");
  visit("shuffle", c.shuffle, "a new order every epoch, from the seed; false keeps the file's");
  visit("max_prompt_length", c.max_prompt_length,
        "tokens of a prompt at most (fewer where the context leaves less room beside an answer)",
        at_least(1));
  visit("truncation_mode", c.truncation_mode,
        "what becomes of a longer prompt: an error that names its line, or it is left out, or cut");
  visit("continue_final_message", c.continue_final_message,
        "a conversation that ends with the assistant is a prompt that goes on with that message; "
        "false: it is an error");
  visit_chat_fields(c.chat, visit);
}

enum class TruncationMode { keep_start, keep_end };
template <>
struct EnumNames<TruncationMode> {
  static constexpr std::pair<TruncationMode, std::string_view> values[] = {
      {TruncationMode::keep_start, "keep_start"}, {TruncationMode::keep_end, "keep_end"}};
};

struct SftDataConfig {
  std::filesystem::path train;
  std::optional<std::filesystem::path> eval;
  double eval_split = 0.0;
  bool shuffle = true;
  bool append_eos = true;
  std::optional<int64_t> max_length = 1024;
  TruncationMode truncation_mode = TruncationMode::keep_start;
  std::optional<bool> completion_only_loss;
  bool assistant_only_loss = false;
  bool packing = false;
  ChatConfig chat = {};
};
template <class Config, class Visitor>
requires Describes<Config, SftDataConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("train", c.train,
        "JSONL in TRL's formats: {text}, {messages}, {prompt, completion} (texts or messages)");
  visit("eval", c.eval, "held-out JSONL of the same form");
  visit("eval_split", c.eval_split,
        "without data.eval: this part of data.train is held out, chosen by the seed",
        from_below(0, 1));
  visit("shuffle", c.shuffle, "a new order every epoch, from the seed; false keeps the file's");
  visit("append_eos", c.append_eos,
        "a text or completion ends with the tokenizer's EOS (chat ends as its template says)");
  visit("max_length", c.max_length,
        "tokens of a sample at most, the rest is cut off (null: the model's context)", at_least(2));
  visit("truncation_mode", c.truncation_mode, "which side of a sample that is too long stays");
  visit("completion_only_loss", c.completion_only_loss,
        "train on the completion alone (null: yes for samples that have one)");
  visit("assistant_only_loss", c.assistant_only_loss,
        "train on what the assistant says alone (chat only)");
  visit("packing", c.packing,
        "put short samples together into rows of up to max_length tokens (best fit); attention "
        "never crosses a sample");
  visit_chat_fields(c.chat, visit);
}

enum class PairTruncation { drop, keep_start, keep_end };
template <>
struct EnumNames<PairTruncation> {
  static constexpr std::pair<PairTruncation, std::string_view> values[] = {
      {PairTruncation::drop, "drop"},
      {PairTruncation::keep_start, "keep_start"},
      {PairTruncation::keep_end, "keep_end"}};
};

// What a pair counts as where the judge preferred neither answer.
enum class Ties { drop, half };
template <>
struct EnumNames<Ties> {
  static constexpr std::pair<Ties, std::string_view> values[] = {{Ties::drop, "drop"},
                                                                 {Ties::half, "half"}};
};

struct PreferenceDataConfig {
  std::filesystem::path train = {};
  std::optional<std::filesystem::path> eval = {};
  double eval_split = 0.0;
  bool shuffle = true;
  bool append_eos = true;
  bool end_at_eos = true;  // leash's own; TRL: never
  std::optional<int64_t> max_length = 1024;
  PairTruncation truncation_mode = PairTruncation::drop;  // TRL's for reward: always drops
  Ties ties = Ties::drop;                                 // leash's own
  ChatConfig chat = {};
};
template <class Config, class Visitor>
requires Describes<Config, PreferenceDataConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("train", c.train,
        "JSONL in TRL's formats: {chosen, rejected} with or without {prompt}, texts or lists of "
        "messages; {tie: true} or {both_bad: true} where the judge preferred neither; reward: with "
        "an optional number {margin}");
  visit("eval", c.eval, "held-out JSONL of the same form");
  visit("eval_split", c.eval_split,
        "without data.eval: this part of data.train's prompts is held out with all their pairs, "
        "chosen by the seed",
        from_below(0, 1));
  visit("shuffle", c.shuffle, "a new order every epoch, from the seed; false keeps the file's");
  visit("append_eos", c.append_eos,
        "a text ends with the tokenizer's EOS (chat ends as its template says)");
  visit(
      "end_at_eos", c.end_at_eos,
      "what a chat template puts behind the last EOS (a line break) is left out: a reward model's "
      "score is then read at the token that ends PPO's answers, and DPO trains nothing behind it");
  visit("max_length", c.max_length, "tokens of a sequence at most (null: the model's context)",
        at_least(2));
  visit("truncation_mode", c.truncation_mode,
        "what becomes of a pair with a sequence that is too long: it is left out, or cut");
  visit("ties", c.ties,
        "what a tie counts as in training: nothing, or half a preference for each of the two "
        "(pairs of which both are bad never count)");
  visit_chat_fields(c.chat, visit);
}

struct LabelledDataConfig {
  std::filesystem::path train = {};
  std::optional<std::filesystem::path> eval = {};
  double eval_split = 0.0;
  std::vector<std::string> labels = {};
  bool shuffle = true;
  std::optional<int64_t> max_length = 1024;
  TruncationMode truncation_mode = TruncationMode::keep_start;
  ChatConfig chat = {};
};
template <class Config, class Visitor>
requires Describes<Config, LabelledDataConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("train", c.train,
        "JSONL: {text, label} or {messages, label}; the label is a name or a number from 0 on");
  visit("eval", c.eval, "held-out JSONL of the same form");
  visit("eval_split", c.eval_split,
        "without data.eval: this part of data.train is held out, chosen by the seed",
        from_below(0, 1));
  visit(
      "labels", c.labels,
      "the classes in their order (empty: those of lora.path or of the checkpoint's id2label, else "
      "what data.train has, names sorted; LABEL_0, … for numbers)");
  visit("shuffle", c.shuffle, "a new order every epoch, from the seed; false keeps the file's");
  visit("max_length", c.max_length,
        "tokens of a text at most, the rest is cut off (null: the model's context)", at_least(1));
  visit("truncation_mode", c.truncation_mode, "which side of a text that is too long stays");
  visit_chat_fields(c.chat, visit);
}

}  // namespace leash
