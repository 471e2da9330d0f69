#include "rl/policy/experience.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "rl/distributed/shares.h"
#include "rl/policy/advantages.h"
#include "rl/policy/importance.h"
#include "rl/policy/kl.h"
#include "rl/policy/rewards.h"

namespace leash {
namespace {

double per_answer(const at::Tensor& values, const at::Tensor& mask) {
  return values.mul(mask).sum(at::IntArrayRef{1}).mean().item<double>();
}

bool any_given(const std::vector<std::vector<double>>& rows) {
  return std::ranges::any_of(rows, [](const std::vector<double>& row) { return !row.empty(); });
}

bool knows_kl(const Experience& experience) {
  return experience.reference_logprobs.defined() || experience.exact_kl.defined();
}

// Pearson's, over the answers. [batch] each; nothing where one of them is the same for all.
void add_correlation(const std::string& name, const at::Tensor& a, const at::Tensor& b,
                     Metrics& metrics) {
  const at::Tensor x = a.sub(a.mean()), y = b.sub(b.mean());
  const double norm =
      std::sqrt(x.mul(x).sum().item<double>()) * std::sqrt(y.mul(y).sum().item<double>());
  if (!(norm > 0) || a.eq(a[0]).all().item<bool>() || b.eq(b[0]).all().item<bool>()) return;
  metrics.emplace_back(name, std::clamp(x.mul(y).sum().item<double>() / norm, -1.0, 1.0));
}

// Of each source with the answer's tokens, and with each source behind it.
void add_correlations(const Experience& experience, const std::vector<std::string>& labels,
                      Metrics& metrics) {
  const at::Tensor lengths = experience.mask.sum(1).to(at::kDouble);
  for (size_t i = 0; i < labels.size(); ++i) {
    const at::Tensor scores = experience.source_scores.select(1, static_cast<int64_t>(i));
    add_correlation("rewards/" + labels[i] + "/corr_length", scores, lengths, metrics);
    for (size_t j = i + 1; j < labels.size(); ++j) {
      add_correlation("rewards/" + labels[i] + "/corr/" + labels[j], scores,
                      experience.source_scores.select(1, static_cast<int64_t>(j)), metrics);
    }
  }
}

}  // namespace

std::vector<Prompt> own_prompts(const std::vector<Prompt>& prompts, int64_t response_length,
                                const Communicator& communicator, int64_t group_size) {
  const bool whole = std::ssize(prompts) / group_size >= communicator.size();
  const int64_t unit = whole ? group_size : 1;
  std::vector<int64_t> costs;
  for (int64_t i = 0; i < std::ssize(prompts); i += unit) {
    costs.push_back(unit * (std::ssize(prompts[static_cast<size_t>(i)].ids) + response_length));
  }
  std::vector<Prompt> own;
  for (const int64_t index : own_share(costs, communicator)) {
    const auto begin = prompts.begin() + index * unit;
    own.insert(own.end(), begin, begin + unit);
  }
  return own;
}

void normalize_scores(const std::vector<RewardConfig>& configs, std::vector<JudgedAnswer>& judged,
                      std::vector<RunningMoments>& moments) {
  if (!normalizes(configs)) return;
  std::vector<std::vector<double>> scores;
  for (const JudgedAnswer& one : judged) scores.push_back(one.parts);
  const std::vector<double> totals = running_totals(configs, scores, moments);
  for (size_t i = 0; i < judged.size(); ++i) judged[i].score = totals[i];
}

Experience assemble(std::vector<JudgedAnswer> judged, std::optional<double> missing_eos_penalty) {
  Experience experience;
  std::vector<int64_t> lengths;
  std::vector<std::vector<double>> logprobs, sampled_logprobs, reference_logprobs, exact_kl,
      entropies, values;
  std::vector<double> scores, parts;
  const at::Tensor ended = at::zeros({static_cast<int64_t>(judged.size())}, at::kBool);
  for (size_t i = 0; i < judged.size(); ++i) {
    const Completion& answer = judged[i].answer;
    lengths.push_back(static_cast<int64_t>(answer.token_ids.size()));
    const std::vector<double>& again = judged[i].policy_logprobs;
    logprobs.push_back(again.empty() ? answer.logprobs : again);
    sampled_logprobs.push_back(answer.logprobs);
    entropies.push_back(answer.entropies);
    reference_logprobs.push_back(judged[i].reference_logprobs);
    exact_kl.push_back(judged[i].exact_kl);
    experience.prompts.push_back(judged[i].prompt);
    values.push_back(judged[i].values);
    scores.push_back(judged[i].score);
    parts.insert(parts.end(), judged[i].parts.begin(), judged[i].parts.end());
    experience.critic_states.push_back(std::move(judged[i].critic_states));
    ended.mutable_data_ptr<bool>()[i] = ended_by_itself(answer);
    experience.answers.push_back(std::move(judged[i].answer));
  }
  experience.mask = row_mask(lengths);
  experience.logprobs = pad_rows(logprobs);
  experience.sampled_logprobs = pad_rows(sampled_logprobs);
  if (any_given(reference_logprobs)) experience.reference_logprobs = pad_rows(reference_logprobs);
  if (any_given(exact_kl)) experience.exact_kl = pad_rows(exact_kl);
  experience.entropies = pad_rows(entropies);
  experience.values = any_given(values) ? pad_rows(values) : at::zeros_like(experience.logprobs);
  experience.scores = at::tensor(scores, at::kFloat);
  if (!parts.empty()) {
    experience.source_scores = at::tensor(parts, at::kDouble).view({std::ssize(judged), -1});
  }
  if (missing_eos_penalty) {
    experience.scores = penalise_missing_eos(experience.scores, ended, *missing_eos_penalty);
  }
  return experience;
}

at::Tensor token_kl(const Experience& experience, KlEstimator estimator) {
  if (!knows_kl(experience)) return at::zeros_like(experience.logprobs);
  if (estimator == KlEstimator::exact) return experience.exact_kl;
  return kl_estimate(experience.logprobs, experience.reference_logprobs, estimator);
}

Metrics answer_metrics(const Experience& experience, double kl_coef) {
  const double scores = experience.scores.mean().item<double>();
  double ended = 0;
  for (const Completion& answer : experience.answers) ended += ended_by_itself(answer) ? 1 : 0;
  const double tokens = experience.mask.sum().item<double>();
  const bool asked = knows_kl(experience);
  const double kl = per_answer(experience.kl, experience.mask);
  Metrics metrics;
  const auto add = [&](const char* name, double value) { metrics.emplace_back(name, value); };
  if (asked) add("objective/kl", kl);
  add("objective/entropy", per_answer(experience.logprobs.neg(), experience.mask));
  if (asked) {
    const double non_score = -kl_coef * kl;
    add("objective/non_score_reward", non_score);
    add("objective/rlhf_reward", scores + non_score);
  }
  add("objective/scores", scores);
  add("objective/scores_std",
      experience.batch() > 1 ? experience.scores.std().item<double>() : 0.0);
  if (asked) add("objective/kl_coef", kl_coef);
  add("policy/entropy_sampling", masked_mean(experience.entropies, experience.mask).item<double>());
  add("val/num_eos_tokens", ended);
  add("val/response_length", tokens / static_cast<double>(experience.batch()));
  return metrics;
}

Metrics correct(Experience& experience, const PolicyConfig& config) {
  if (!config.importance_sampling_correction) return {};
  experience.corrections =
      importance_corrections(experience.logprobs, experience.sampled_logprobs, experience.mask,
                             {.mode = config.importance_sampling_mode,
                              .clip_min = config.importance_sampling_clip_min,
                              .clip_max = config.importance_sampling_clip_max});
  const bool tokens = config.importance_sampling_mode == CorrectionMode::token_truncate ||
                      config.importance_sampling_mode == CorrectionMode::token_mask;
  const at::Tensor weights = tokens ? experience.corrections.masked_select(experience.mask)
                                    : experience.corrections.select(1, 0);
  const std::string name = "sampling/importance_sampling_ratio/";
  return {{name + "min", weights.min().item<double>()},
          {name + "mean", weights.mean().item<double>()},
          {name + "max", weights.max().item<double>()}};
}

Metrics source_metrics(const Experience& experience, const std::vector<std::string>& labels) {
  Metrics metrics;
  if (!experience.source_scores.defined()) return metrics;
  for (size_t i = 0; i < labels.size(); ++i) {
    const at::Tensor scores = experience.source_scores.select(1, static_cast<int64_t>(i));
    metrics.emplace_back("rewards/" + labels[i] + "/mean", scores.mean().item<double>());
    metrics.emplace_back("rewards/" + labels[i] + "/std",
                         experience.batch() > 1 ? scores.std().item<double>() : 0.0);
  }
  add_correlations(experience, labels, metrics);
  return metrics;
}

Metrics experience_metrics(const Experience& experience, double kl_coef) {
  Metrics metrics = answer_metrics(experience, kl_coef);
  const at::Tensor residual = experience.returns.sub(experience.values);
  const double return_variance = masked_var(experience.returns, experience.mask).item<double>();
  const double explained =
      return_variance > 0
          ? 1 - masked_var(residual, experience.mask).item<double>() / return_variance
          : 0.0;
  metrics.emplace_back("val/value_mean",
                       masked_mean(experience.values, experience.mask).item<double>());
  metrics.emplace_back("val/return_mean",
                       masked_mean(experience.returns, experience.mask).item<double>());
  metrics.emplace_back("val/explained_variance", explained);
  return metrics;
}

}  // namespace leash
