#include "rl/ppo_experience.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "rl/advantages.h"
#include "rl/distributed/shares.h"
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

std::vector<Prompt> own_prompts(const std::vector<Prompt>& prompts, int64_t response_length,
                                const Communicator& communicator) {
  std::vector<int64_t> costs;
  for (const Prompt& prompt : prompts) costs.push_back(std::ssize(prompt.ids) + response_length);
  std::vector<Prompt> own;
  for (const int64_t index : own_share(costs, communicator)) own.push_back(prompts[index]);
  return own;
}

std::vector<JudgedAnswer> judge(std::vector<Completion> answers,
                                const std::vector<PromptRecord>& prompts,
                                const std::vector<int64_t>& rows, const PpoSetup& setup,
                                const PpoRoles& roles, Lanes& lanes) {
  const std::vector<ScoredText> texts = texts_of(answers);
  std::vector<std::string> prompt_texts;
  for (const Completion& answer : answers)
    prompt_texts.push_back(prompts[rows[answer.sample]].text);
  const std::vector<RewardSample> samples = reward_samples(answers, prompt_texts);

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

  const auto reference_scores = reference.get();
  const auto values = critic.get();
  const auto scores = reward.get();
  std::vector<JudgedAnswer> judged;
  for (size_t i = 0; i < answers.size(); ++i) {
    judged.push_back({.answer = std::move(answers[i]),
                      .reference_logprobs = reference_scores[i].logprobs,
                      .values = {},
                      .score = scores[i]});
    judged[i].values = values.empty() ? judged[i].answer.values : values[i];
  }
  return judged;
}

Experience assemble(std::vector<JudgedAnswer> judged, const PpoConfig& config) {
  Experience experience;
  std::vector<int64_t> lengths;
  std::vector<std::vector<double>> logprobs, reference_logprobs, entropies, values;
  std::vector<double> scores;
  const at::Tensor ended = at::zeros({static_cast<int64_t>(judged.size())}, at::kBool);
  for (size_t i = 0; i < judged.size(); ++i) {
    const Completion& answer = judged[i].answer;
    lengths.push_back(static_cast<int64_t>(answer.token_ids.size()));
    logprobs.push_back(answer.logprobs);
    entropies.push_back(answer.entropies);
    reference_logprobs.push_back(judged[i].reference_logprobs);
    values.push_back(judged[i].values);
    scores.push_back(judged[i].score);
    ended.mutable_data_ptr<bool>()[i] = ended_by_itself(answer);
    experience.answers.push_back(std::move(judged[i].answer));
  }
  experience.mask = row_mask(lengths);
  experience.logprobs = pad_rows(logprobs);
  experience.reference_logprobs = pad_rows(reference_logprobs);
  experience.entropies = pad_rows(entropies);
  experience.values = pad_rows(values);
  experience.scores = at::tensor(scores, at::kFloat);
  if (config.missing_eos_penalty) {
    experience.scores = penalise_missing_eos(experience.scores, ended, *config.missing_eos_penalty);
  }
  return experience;
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
