#include "rl/data/sft_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "models/errors.h"
#include "models/grouped_digits.h"
#include "models/tokenizer/assistant_mask.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/encode.h"
#include "rl/data/held_out.h"
#include "rl/data/jsonl.h"
#include "rl/data/weighted_messages.h"

namespace leash {
namespace {

using Json = nlohmann::ordered_json;

// Reads one line after the other and counts what happens to them.
class SampleReader {
 public:
  SampleReader(const Tokenizer& tokenizer, const SftDataConfig& config, int64_t context)
      : tokenizer_(tokenizer),
        config_(config),
        max_length_(std::min(config.max_length.value_or(context), context)) {}

  void read(const Json& json, int64_t line) {
    SftSample sample = sample_of(json);
    sample.line = line;
    sample.id = static_cast<uint64_t>(data_.counts.lines++);
    truncate(sample);
    if (!sample.trained.empty()) sample.trained[0] = 0;  // nothing predicts a first token
    const int64_t trained = sample.num_trained();
    if (trained == 0) {
      ++data_.counts.dropped;
      return;
    }
    data_.counts.tokens += static_cast<int64_t>(sample.ids.size());
    data_.counts.trained_tokens += trained;
    data_.samples.push_back(std::move(sample));
  }
  SftData take() { return std::move(data_); }

 private:
  SftSample sample_of(const Json& json) {
    const auto find = [&](const char* key) {
      const auto found = json.find(key);
      return found == json.end() ? nullptr : &*found;
    };
    const Json *text = find("text"), *messages = find("messages"), *prompt = find("prompt"),
               *completion = find("completion");
    const int kinds = (text != nullptr) + (messages != nullptr) + (prompt || completion ? 1 : 0);
    if (kinds != 1 || (prompt == nullptr) != (completion == nullptr)) {
      throw FormatError("needs either `text`, `messages`, or `prompt` and `completion`");
    }
    options_ = chat_options_of(json);
    if (messages != nullptr) return weighted_chat(*messages, nullptr);
    if (text != nullptr) return raw("", text_of(*text, "text"), /*has_prompt=*/false);
    if (prompt->is_array() && completion->is_array()) return weighted_chat(*prompt, completion);
    const std::string asked = text_of(*prompt, "prompt");
    return raw(asked, text_of(*completion, "completion"), /*has_prompt=*/true);
  }

  static std::string text_of(const Json& value, const char* key) {
    if (!value.is_string()) {
      throw FormatError(fmt::format("`{}` has to be a text{}", key,
                                    std::string_view(key) == "text"
                                        ? ""
                                        : " (or both prompt and completion lists of messages)"));
    }
    return value.get<std::string>();
  }

  SftSample raw(const std::string& prompt, const std::string& rest, bool has_prompt) {
    if (config_.assistant_only_loss) {
      throw FormatError("data.assistant_only_loss needs chat messages, and this line has none");
    }
    SftSample sample;
    sample.ids = encode_text(tokenizer_, prompt + rest);
    if (config_.append_eos) append_eos(tokenizer_, sample.ids);
    train_all(sample);
    if (!has_prompt) return sample;
    set_prompt(sample, encode_text(tokenizer_, prompt), prompt);
    if (config_.completion_only_loss.value_or(true)) untrain_prompt(sample);
    return sample;
  }

  SftSample weighted_chat(const Json& list, const Json* completion) {
    WeightedMessages all = weighted_messages(list, completion == nullptr ? "messages" : "prompt");
    const size_t border = all.messages.size();
    if (completion != nullptr) all.append(weighted_messages(*completion, "completion"));
    SftSample sample = chat(all.messages, border);
    for (size_t i = 0; i < all.messages.size(); ++i) {
      if (!all.trains[i]) untrain_message(sample, all.messages, i);
    }
    return sample;
  }

  // Messages from `border` on are the completion.
  SftSample chat(std::span<const ChatMessage> messages, size_t border) {
    check_chat_template(tokenizer_);
    SftSample sample;
    if (config_.assistant_only_loss) {
      MaskedChat chat =
          encode_with_mask(tokenizer_, messages, /*add_generation_prompt=*/false, options_);
      sample.ids = std::move(chat.ids);
      sample.trained = std::move(chat.assistant);
    } else {
      sample.ids = encode(messages, /*cue=*/false);
      train_all(sample);
    }
    if (border == messages.size()) {
      if (messages.back().role == "assistant") set_chat_prompt(sample, messages, border - 1);
      return sample;
    }
    if (messages[border].role != "assistant") {
      throw FormatError(
          "completion[0] has to be the assistant's, for the prompt ends with its cue");
    }
    set_chat_prompt(sample, messages, border);
    if (config_.completion_only_loss.value_or(true)) untrain_prompt(sample);
    return sample;
  }

  std::vector<int64_t> encode(std::span<const ChatMessage> messages, bool cue) const {
    return encode_chat(tokenizer_, messages, cue, options_);
  }

  static void train_all(SftSample& sample) { sample.trained.assign(sample.ids.size(), 1); }

  // Where the answer begins: behind what the sample shares with its prompt alone.
  void set_prompt(SftSample& sample, const std::vector<int64_t>& prompt, std::string display) {
    sample.prompt_tokens = common_prefix(sample.ids, prompt);
    sample.prompt = std::move(display);
    // A tokenizer that ends a text with special tokens of its own differs there in any case.
    if (sample.prompt_tokens < static_cast<int64_t>(prompt.size())) ++data_.counts.merged_borders;
  }

  // What the model has read before message `i`, with its cue. Before the first message there is
  // what the template puts there by itself: all that two answers have in common.
  std::vector<int64_t> before(std::span<const ChatMessage> messages, size_t i) const {
    if (i > 0) return encode(messages.first(i), /*cue=*/true);
    const std::vector<ChatMessage> one = {{"assistant", "a"}}, another = {{"assistant", "?"}};
    auto ids = encode(one, /*cue=*/false);
    const auto other = encode(another, /*cue=*/false);
    ids.resize(static_cast<size_t>(common_prefix(ids, other)));
    return ids;
  }

  void set_chat_prompt(SftSample& sample, std::span<const ChatMessage> messages, size_t border) {
    std::string display;
    for (const ChatMessage& message : messages.first(border)) {
      if (message.role == "user") display = message.content;
    }
    set_prompt(sample, before(messages, border), std::move(display));
  }

  static void untrain_prompt(SftSample& sample) {
    std::fill_n(sample.trained.begin(), sample.prompt_tokens, 0);
  }

  // With its role and what the template puts around it.
  void untrain_message(SftSample& sample, std::span<const ChatMessage> messages, size_t i) const {
    const auto until = [&](size_t count) {
      if (count == 0) return int64_t{0};
      return common_prefix(sample.ids, encode(messages.first(count), /*cue=*/false));
    };
    std::fill(sample.trained.begin() + until(i), sample.trained.begin() + until(i + 1), 0);
  }

  void truncate(SftSample& sample) {
    const auto length = static_cast<int64_t>(sample.ids.size());
    const int64_t excess = length - max_length_;
    if (excess <= 0) return;
    ++data_.counts.truncated;
    data_.counts.cut_tokens += excess;
    sample.prompt_tokens = 0;
    const int64_t begin = config_.truncation_mode == TruncationMode::keep_start ? 0 : excess;
    const auto keep = [&](auto& values) {
      values.erase(values.begin() + begin + max_length_, values.end());
      values.erase(values.begin(), values.begin() + begin);
    };
    keep(sample.ids);
    keep(sample.trained);
  }

  const Tokenizer& tokenizer_;
  const SftDataConfig& config_;
  int64_t max_length_;
  ChatOptions options_;  // of the record that is read
  SftData data_;
};

SftDataCounts counts_of(const std::vector<SftSample>& samples) {
  SftDataCounts counts{.lines = static_cast<int64_t>(samples.size())};
  for (const SftSample& sample : samples) {
    counts.tokens += static_cast<int64_t>(sample.ids.size());
    counts.trained_tokens += sample.num_trained();
  }
  return counts;
}

// Takes a part of the training samples away, in the file's order.
SftData hold_out(SftData& train, double part, uint64_t seed) {
  const auto total = static_cast<int64_t>(train.samples.size());
  SftData eval;
  eval.samples = take_held_out(train.samples, draw_held_out(total, part, seed, "samples"));
  eval.counts = counts_of(eval.samples);
  train.counts.tokens -= eval.counts.tokens;
  train.counts.trained_tokens -= eval.counts.trained_tokens;
  train.counts.lines -= eval.counts.lines;
  return eval;
}

}  // namespace

int64_t SftSample::num_trained() const {
  return std::count(trained.begin(), trained.end(), uint8_t{1});
}

int64_t SftSample::num_rows() const {
  const auto last = std::find(trained.rbegin(), trained.rend(), uint8_t{1});
  return std::max<int64_t>(trained.rend() - last - 1, 0);
}

std::string SftDataCounts::text() const {
  std::string line =
      fmt::format("{} samples, {} tokens ({} trained)", grouped_digits(lines - dropped),
                  grouped_digits(tokens), grouped_digits(trained_tokens));
  if (truncated > 0) {
    line += fmt::format("; {} truncated by {} tokens in all", grouped_digits(truncated),
                        grouped_digits(cut_tokens));
  }
  if (dropped > 0)
    line += fmt::format("; {} dropped: no trained token left", grouped_digits(dropped));
  if (merged_borders > 0) {
    line += fmt::format("; in {} the prompt's last token merges with the completion",
                        grouped_digits(merged_borders));
  }
  return line;
}

SftData read_sft_data(const std::filesystem::path& file, const Tokenizer& tokenizer,
                      const SftDataConfig& config, int64_t context) {
  SampleReader reader(tokenizer, config, context);
  const KnownKeys known{
      .record = {"text", "messages", "prompt", "completion", "tools", "chat_template_kwargs"}};
  for_each_json_line(file, known, [&](const Json& json, int64_t line) { reader.read(json, line); });
  SftData data = reader.take();
  if (data.counts.lines == 0) throw FormatError(file.string() + ": holds no samples");
  if (data.samples.empty()) {
    throw FormatError(fmt::format("{}: none of its {} samples has a token to train on",
                                  file.string(), data.counts.lines));
  }
  return data;
}

SftDataSets read_sft_data_sets(const SftDataConfig& config, const Tokenizer& tokenizer,
                               int64_t context, uint64_t seed) {
  SftDataSets sets;
  read_both([&] { sets.train = read_sft_data(config.train, tokenizer, config, context); },
            [&] {
              if (config.eval) sets.eval = read_sft_data(*config.eval, tokenizer, config, context);
            });
  if (!config.eval && config.eval_split > 0) {
    sets.eval = hold_out(sets.train, config.eval_split, seed);
  }
  return sets;
}

}  // namespace leash
