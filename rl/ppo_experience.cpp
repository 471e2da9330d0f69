#include "rl/ppo_experience.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "rl/advantages.h"
#include "rl/kl.h"
#include "rl/rewards.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

bool ended_by_itself(const Completion& answer) {
  return answer.stop == StopReason::eos || answer.stop == StopReason::stop_token ||
         answer.stop == StopReason::stop_text;
}

std::vector<ScoredText> texts_of(const std::vector<Completion>& answers) {
  std::vector<ScoredText> texts;
  for (const Completion& answer : answers) {
    ScoredText text{.ids = answer.prompt_ids,
                    .answer_begin = static_cast<int64_t>(answer.prompt_ids.size())};
    text.ids.insert(text.ids.end(), answer.token_ids.begin(), answer.token_ids.end());
    texts.push_back(std::move(text));
  }
  return texts;
}

template <class Field>
at::Tensor padded(const std::vector<TextScores>& scores, Field field) {
  std::vector<std::vector<double>> rows;
  for (const TextScores& score : scores) rows.push_back(score.*field);
  return pad_rows(rows);
}

// What sampling itself recorded, as [batch, time].
void take_recorded(Experience& experience) {
  std::vector<int64_t> lengths;
  std::vector<std::vector<double>> logprobs, entropies, values;
  for (const Completion& answer : experience.answers) {
    lengths.push_back(static_cast<int64_t>(answer.token_ids.size()));
    logprobs.push_back(answer.logprobs);
    entropies.push_back(answer.entropies);
    values.push_back(answer.values);
  }
  experience.mask = row_mask(lengths);
  experience.logprobs = pad_rows(logprobs);
  experience.entropies = pad_rows(entropies);
  experience.values = pad_rows(values);  // of a shared critic; replaced otherwise
}

double per_answer(const at::Tensor& values, const at::Tensor& mask) {
  return values.mul(mask).sum(at::IntArrayRef{1}).mean().item<double>();
}

}  // namespace

std::vector<RewardSample> reward_samples(const std::vector<Completion>& answers,
                                         const std::vector<std::string>& prompts) {
  std::vector<RewardSample> samples;
  for (size_t i = 0; i < answers.size(); ++i) {
    samples.push_back({.prompt = prompts[i],
                       .answer = answers[i].text,
                       .prompt_ids = answers[i].prompt_ids,
                       .token_ids = answers[i].token_ids,
                       .ended = ended_by_itself(answers[i])});
  }
  return samples;
}

void judge(Experience& experience, const std::vector<PromptRecord>& prompts,
           const std::vector<int64_t>& rows, const PpoSetup& setup, const PpoRoles& roles,
           Lanes& lanes) {
  take_recorded(experience);
  const std::vector<ScoredText> texts = texts_of(experience.answers);
  std::vector<std::string> prompt_texts;
  for (const int64_t row : rows) prompt_texts.push_back(prompts[row].text);
  const std::vector<RewardSample> samples = reward_samples(experience.answers, prompt_texts);

  auto reference = lanes[Role::reference].run("reference log-probs", [&] {
    return score_texts(*roles.reference_decoder, roles.reference(), texts,
                       {.temperature = setup.rollout.temperature,
                        .micro_batch_tokens = setup.ppo.micro_batch_tokens});
  });
  auto critic = lanes[Role::critic].run("values", [&]() -> std::vector<std::vector<double>> {
    if (roles.critic.kind == CriticKind::shared) return {};  // the sampler read its head on the way
    const Adapter* adapter = roles.critic.adapter ? &*roles.critic.adapter : nullptr;
    return value_texts(*roles.critic.decoder, adapter, roles.critic.head, texts,
                       setup.ppo.micro_batch_tokens);
  });
  auto reward = lanes[Role::reward].run("scores", [&] { return roles.reward->score(samples); });
  // Every lane is waited for before anything is thrown: the tasks read what stands on this stack.
  reference.wait();
  critic.wait();
  reward.wait();

  experience.reference_logprobs = padded(reference.get(), &TextScores::logprobs);
  const auto values = critic.get();
  if (!values.empty()) experience.values = pad_rows(values);
  experience.scores = at::tensor(reward.get(), at::kFloat);
  if (setup.ppo.missing_eos_penalty) {
    const at::Tensor ended = at::zeros({experience.batch()}, at::kBool);
    for (size_t i = 0; i < samples.size(); ++i)
      ended.mutable_data_ptr<bool>()[i] = samples[i].ended;
    experience.scores =
        penalise_missing_eos(experience.scores, ended, *setup.ppo.missing_eos_penalty);
  }
}

void shape(Experience& experience, const PpoConfig& config, double kl_coef) {
  experience.kl =
      kl_estimate(experience.logprobs, experience.reference_logprobs, config.kl_estimator);
  experience.rewards = shape_rewards(experience.scores, experience.kl, experience.mask, kl_coef);
  if (config.whiten_rewards) {
    experience.rewards = masked_whiten(experience.rewards, experience.mask, /*shift_mean=*/false);
  }
  const Advantages estimated =
      gae(experience.rewards, experience.values, experience.mask, config.gamma, config.lam);
  experience.advantages = masked_whiten(estimated.advantages, experience.mask);
  experience.returns = estimated.returns;
}

Metrics experience_metrics(const Experience& experience, double kl_coef) {
  const double kl = per_answer(experience.kl, experience.mask);
  const double scores = experience.scores.mean().item<double>();
  const double non_score = -kl_coef * kl;
  double ended = 0;
  for (const Completion& answer : experience.answers) ended += ended_by_itself(answer) ? 1 : 0;
  const at::Tensor residual = experience.returns.sub(experience.values);
  const double return_variance = masked_var(experience.returns, experience.mask).item<double>();
  const double explained =
      return_variance > 0
          ? 1 - masked_var(residual, experience.mask).item<double>() / return_variance
          : 0.0;
  const double tokens = experience.mask.sum().item<double>();
  return {{"objective/kl", kl},
          {"objective/entropy", per_answer(experience.logprobs.neg(), experience.mask)},
          {"objective/non_score_reward", non_score},
          {"objective/rlhf_reward", scores + non_score},
          {"objective/scores", scores},
          {"objective/scores_std",
           experience.batch() > 1 ? experience.scores.std().item<double>() : 0.0},
          {"objective/kl_coef", kl_coef},
          {"policy/entropy_sampling",
           masked_mean(experience.entropies, experience.mask).item<double>()},
          {"val/num_eos_tokens", ended},
          {"val/response_length", tokens / static_cast<double>(experience.batch())},
          {"val/value_mean", masked_mean(experience.values, experience.mask).item<double>()},
          {"val/return_mean", masked_mean(experience.returns, experience.mask).item<double>()},
          {"val/explained_variance", explained}};
}

}  // namespace leash
