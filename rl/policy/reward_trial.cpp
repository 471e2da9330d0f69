#include "rl/policy/reward_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "models/device/device.h"
#include "models/errors.h"
#include "models/printable.h"
#include "rl/policy/judging.h"
#include "rl/policy/roles.h"
#include "rl/reward/scale.h"
#include "rl/reward/source.h"

namespace leash {
namespace {

using Record = nlohmann::ordered_json;

// What scores, and what is needed to read and to answer prompts.
struct Trial {
  Tokenizer tokenizer;
  std::unique_ptr<const RewardSource> reward;
  std::optional<PolicyRoles> roles = {};  // where answers are sampled; its reward has moved out
};

Trial load_trial(const PolicySetup& setup, const PolicyConfig& config, bool with_policy) {
  if (with_policy) {
    PolicyRoles roles = load_policy_roles(setup, config, nullptr,
                                          [](const PolicyRoles&, Bases&) { return std::nullopt; });
    Trial trial{.tokenizer = roles.tokenizer, .reward = std::move(roles.reward)};
    trial.roles = std::move(roles);
    return trial;
  }
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  Tokenizer tokenizer = load_chat_tokenizer(checkpoint.path, setup.data.chat);
  const at::Device device = setup.devices.of(Role::reward);
  auto reward = make_reward(setup.reward,
                            {.tokenizer = tokenizer,
                             .dtype = scalar_type(setup.model.dtype, setup.devices.of(Role::actor)),
                             .device = device,
                             .micro_batch_tokens = config.micro_batch_tokens});
  return {.tokenizer = std::move(tokenizer), .reward = std::move(reward)};
}

bool needs_base(const PolicySetup& setup) {
  return std::ranges::find(setup.reward, RewardKind::adapter, &RewardConfig::kind) !=
         setup.reward.end();
}

std::string text_of_messages(const Record& list) {
  for (auto message = list.rbegin(); message != list.rend(); ++message) {
    if (!message->is_object() || message->value("role", "") != "assistant") continue;
    const auto content = message->find("content");
    if (content != message->end() && content->is_string()) return content->get<std::string>();
  }
  throw FormatError("has no message of the assistant with a text");
}

// The answers of a record under `key`; none where it has no such key.
std::vector<std::string> answers_of(const Record& row, const std::string& key) {
  const auto found = row.find(key);
  if (found == row.end() || found->is_null()) return {};
  if (found->is_string()) return {found->get<std::string>()};
  if (!found->is_array() || found->empty()) {
    throw FormatError("has to be a text, a list of texts, or a list of messages");
  }
  if (found->front().is_object()) return {text_of_messages(*found)};
  std::vector<std::string> answers;
  for (const Record& entry : *found) {
    if (!entry.is_string()) throw FormatError("has to be a list of texts, or of messages");
    answers.push_back(entry.get<std::string>());
  }
  return answers;
}

std::string answer_key(const PolicySetup& setup, const RewardTrialOptions& options,
                       const std::vector<PromptRecord>& prompts) {
  if (options.answer_key) return *options.answer_key;
  const auto has = [&](const char* key) {
    return std::ranges::any_of(
        prompts, [&](const PromptRecord& prompt) { return prompt.row->contains(key); });
  };
  const auto read = reward_columns(setup.reward).names;
  const bool is_column = std::ranges::find(read, "answer") != read.end();
  return !has("completion") && has("answer") && !is_column ? "answer" : "completion";
}

bool ended_of(const Record& row) {
  const auto ended = row.find("ended");
  return ended == row.end() || !ended->is_boolean() || ended->get<bool>();
}

// Given answers as samples; `asked` gets the prompt of each.
std::vector<RewardSample> given_samples(const std::vector<PromptRecord>& prompts,
                                        const std::string& key, const std::string& file,
                                        const Tokenizer& tokenizer,
                                        std::vector<const PromptRecord*>& asked) {
  std::vector<RewardSample> samples;
  int64_t first_without = 0;
  for (const PromptRecord& prompt : prompts) {
    const auto fail = [&](const std::string& what) {
      throw FormatError(fmt::format("{}:{}: `{}` {}", file, prompt.line, printable(key), what));
    };
    std::vector<std::string> answers;
    try {
      answers = answers_of(*prompt.row, key);
    } catch (const FormatError& error) {
      fail(error.what());
    }
    if (answers.empty() && first_without == 0) first_without = prompt.line;
    for (std::string& answer : answers) {
      RewardSample sample{.prompt = prompt.text,
                          .answer = std::move(answer),
                          .prompt_ids = prompt.ids,
                          .ended = ended_of(*prompt.row),
                          .messages = prompt.messages,
                          .options = prompt.options,
                          .row = prompt.row};
      sample.token_ids = tokenizer.encode(sample.answer);
      if (sample.ended && tokenizer.eos_token_id()) {
        sample.token_ids.push_back(*tokenizer.eos_token_id());
      }
      samples.push_back(std::move(sample));
      asked.push_back(&prompt);
    }
  }
  if (!samples.empty() && first_without > 0) {
    throw FormatError(fmt::format("{}:{}: has no `{}`, which other lines have", file, first_without,
                                  printable(key)));
  }
  return samples;
}

std::vector<PromptRecord> prompts_in(const std::filesystem::path& file, const PolicySetup& setup,
                                     const Tokenizer& tokenizer) {
  return read_prompts(file, tokenizer,
                      {.max_prompt_length = setup.data.max_prompt_length,
                       .context = std::numeric_limits<int64_t>::max(),
                       .min_answer_tokens = 0,
                       .continue_final_message = setup.data.continue_final_message,
                       .truncation = setup.data.truncation_mode,
                       .any_column = true});
}

std::vector<RewardSample> sampled_answers(const PolicySetup& setup, const PolicyRoles& roles,
                                          const std::vector<PromptRecord>& prompts, int64_t count,
                                          std::vector<const PromptRecord*>& asked) {
  std::vector<Prompt> batch;
  for (const PromptRecord& prompt : prompts) {
    if (std::ssize(batch) == count) break;
    batch.push_back({.ids = prompt.ids, .sample = batch.size()});
    asked.push_back(&prompt);
  }
  const RolloutEngine engine(roles.decoder, roles.tokenizer);
  const auto answers =
      engine.generate(batch, &roles.policy, generation_config(setup, roles, /*step=*/1));
  return reward_samples(answers, asked, /*step=*/1);
}

void check_prompts(const RewardSource& reward, const std::vector<const PromptRecord*>& asked,
                   const std::string& file) {
  for (const PromptRecord* prompt : asked) {
    try {
      reward.check_prompt(*prompt);
    } catch (const FormatError& error) {
      throw FormatError(fmt::format("{}:{}: {}", file, prompt->line, error.what()));
    }
  }
}

}  // namespace

ScoreTable try_rewards(const PolicySetup& setup, const PolicyConfig& config,
                       const RewardTrialOptions& options) {
  const std::filesystem::path file = options.input.value_or(setup.data.train);
  Trial trial = load_trial(setup, config, needs_base(setup));
  const auto prompts = prompts_in(file, setup, trial.tokenizer);
  std::vector<const PromptRecord*> asked;
  std::vector<RewardSample> samples;
  if (options.input) {
    samples = given_samples(prompts, answer_key(setup, options, prompts), file.string(),
                            trial.tokenizer, asked);
  }
  if (samples.empty()) {
    if (!trial.roles) trial = load_trial(setup, config, /*with_policy=*/true);
    samples = sampled_answers(setup, *trial.roles, prompts, options.num_prompts, asked);
  }
  check_prompts(*trial.reward, asked, file.string());
  const RewardScores scores = trial.reward->score_parts(samples);
  ScoreTable table{.labels = reward_labels(setup.reward),
                   .seconds = scores.seconds,
                   .normalizes = normalizes(setup.reward)};
  for (size_t i = 0; i < samples.size(); ++i) {
    ScoredAnswer one{.prompt = asked[i]->display,
                     .answer = samples[i].answer,
                     .ended = samples[i].ended,
                     .tokens = std::ssize(samples[i].token_ids),
                     .total = scores.total[i]};
    for (const std::vector<double>& part : scores.parts) one.scores.push_back(part[i]);
    table.answers.push_back(std::move(one));
  }
  return table;
}

}  // namespace leash
