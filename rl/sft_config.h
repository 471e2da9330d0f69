// Everything that a supervised run can be told. Names and defaults are those of transformers'
// TrainingArguments and, for the data, of TRL's SFTConfig, except where a comment says otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "models/fields.h"
#include "models/lora.h"
#include "models/model_config.h"
#include "rl/devices_config.h"
#include "rl/run_config.h"
#include "rl/training_config.h"

namespace leash {

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
}

struct SftConfig : TrainingConfig {
  double label_smoothing_factor = 0.0;
  std::optional<double> neftune_noise_alpha = {};
  int64_t eval_answers = 0;  // leash's own
};
template <class Config, class Visitor>
requires Describes<Config, SftConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit_training_fields(c, visit);
  visit("label_smoothing_factor", c.label_smoothing_factor,
        "this part of the target is spread evenly over the vocabulary", from_below(0, 1));
  visit("neftune_noise_alpha", c.neftune_noise_alpha,
        "noise on the embeddings, uniform within alpha / sqrt(tokens x width) (null: none)",
        above(0));
  visit("eval_answers", c.eval_answers,
        "held-out prompts that are answered at each evaluation (greedily, at most 64 tokens), for "
        "samples.jsonl and the report",
        at_least(0));
}

// Everything that a recipe says about a supervised run.
struct SftSetup {
  ModelConfig model;
  LoraConfig lora;
  SftDataConfig data;
  SftConfig sft;
  ModelDevice devices;
  RunConfig run;
};

}  // namespace leash
