#include "rl/policy/evaluation.h"

#include <c10/util/ScopeExit.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "models/printable.h"
#include "rl/distributed/gather_json.h"
#include "rl/policy/experience.h"
#include "rl/run/run_parts.h"
#include "rl/statistics/statistics.h"
#include "rl/statistics/words.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

GenerationConfig evaluation_config(const PolicySetup& setup, const PolicyRoles& roles,
                                   bool greedy) {
  GenerationConfig config = generation_config(setup, roles, /*step=*/0);
  config.purpose = Purpose::evaluation;
  if (greedy) {
    config.sampling = {.temperature = 0.0,
                       .repetition_penalty = config.sampling.repetition_penalty};
  }
  return config;
}

std::vector<Prompt> prompts_of(const std::vector<PromptRecord>& records, int64_t samples) {
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < records.size(); ++i) {
    for (int64_t j = 0; j < samples; ++j) {
      prompts.push_back({.ids = records[i].ids,
                         .sample = static_cast<uint64_t>(static_cast<int64_t>(i) * samples + j)});
    }
  }
  return prompts;
}

std::vector<double> column(const std::vector<EvaluatedAnswer>& answers,
                           double EvaluatedAnswer::*field) {
  std::vector<double> values;
  for (const EvaluatedAnswer& answer : answers) values.push_back(answer.*field);
  return values;
}

ordered_json answer_json(const EvaluatedAnswer& answer) {
  return {{"prompt", answer.prompt},
          {"text", answer.text},
          {"reward", answer.reward},
          {"kl", answer.kl},
          {"reference_nll", answer.reference_nll},
          {"distinct_bigrams", answer.distinct_bigrams},
          {"num_tokens", answer.num_tokens},
          {"stop", answer.stop}};
}

template <class AnyJson>
EvaluatedAnswer read_answer(const AnyJson& answer) {
  return {.prompt = answer.at("prompt"),
          .text = answer.at("text"),
          .reward = answer.at("reward"),
          .kl = answer.at("kl"),
          .reference_nll = answer.at("reference_nll"),
          .distinct_bigrams = answer.at("distinct_bigrams"),
          .num_tokens = answer.at("num_tokens"),
          .stop = answer.at("stop")};
}

// The answers of all ranks, each in its place.
std::vector<EvaluatedAnswer> gather_answers(Communicator& communicator,
                                            const std::vector<EvaluatedAnswer>& own,
                                            const std::vector<int64_t>& places,
                                            size_t num_answers) {
  auto sent = nlohmann::json::array();
  for (size_t i = 0; i < own.size(); ++i) sent.push_back({places[i], answer_json(own[i])});
  std::vector<EvaluatedAnswer> all(num_answers);
  for (const auto& entry : gather_json(communicator, sent)) {
    all.at(entry[0].get<size_t>()) = read_answer(entry[1]);
  }
  return all;
}

Evaluation evaluate_decoding(const PolicySetup& setup, const PolicyConfig& config,
                             const PolicyRoles& roles, const std::vector<PromptRecord>& records,
                             Lanes& lanes, bool greedy, Communicator& communicator, int64_t step) {
  const int64_t samples = greedy ? 1 : config.eval_samples;
  const std::vector<Prompt> prompts = prompts_of(records, samples);
  const auto own = own_prompts(prompts, setup.rollout.response_length, communicator);
  const RolloutEngine engine(roles.decoder, roles.tokenizer);
  GatherScope scope(communicator.gathers().get(), kept_without_gradients(setup.run));
  const std::vector<Completion> completions =
      lanes[Role::actor]
          .run([&] {
            return engine.generate(own, &roles.policy, evaluation_config(setup, roles, greedy));
          })
          .get();
  std::vector<int64_t> places;
  std::vector<ScoredText> texts;
  std::vector<const PromptRecord*> asked;
  for (const Completion& completion : completions) {
    ScoredText text{.ids = completion.prompt_ids,
                    .answer_begin = static_cast<int64_t>(completion.prompt_ids.size())};
    text.ids.insert(text.ids.end(), completion.token_ids.begin(), completion.token_ids.end());
    texts.push_back(std::move(text));
    places.push_back(static_cast<int64_t>(completion.sample));
    asked.push_back(&records[static_cast<size_t>(places.back() / samples)]);
  }
  const auto reward_inputs = reward_samples(completions, asked, step);
  const ScoringOptions options{.micro_batch_tokens = config.micro_batch_tokens};
  auto reference = lanes[Role::reference].run([&] {
    return score_texts(*roles.reference.decoder, roles.reference.adapter_or_none(), texts, options);
  });
  // Whatever throws from here on, no lane reads what is gone.
  const auto reference_ends = c10::make_scope_exit([&] { reference.wait(); });
  auto reward = lanes[Role::reward].run([&] { return roles.reward->score(reward_inputs); });
  const auto reward_ends = c10::make_scope_exit([&] { reward.wait(); });
  auto kl = lanes[Role::actor].run([&] {
    return exact_kl_texts(*roles.decoder, &roles.policy, *roles.reference.decoder,
                          roles.reference.adapter_or_none(), texts, options);
  });
  reference.wait();
  reward.wait();
  kl.wait();
  const auto reference_scores = reference.get();
  const auto rewards = reward.get();
  const auto kls = kl.get();
  scope.finish();

  std::vector<EvaluatedAnswer> answers;
  for (size_t i = 0; i < completions.size(); ++i) {
    answers.push_back({.prompt = places[i] / samples,
                       .text = completions[i].text,
                       .reward = rewards[i],
                       .kl = sum(kls[i]),
                       .reference_nll = -sum(reference_scores[i].logprobs),
                       .distinct_bigrams = distinct_bigram_share(words_of(completions[i].text)),
                       .num_tokens = static_cast<int64_t>(completions[i].token_ids.size()),
                       .stop = std::string(enum_name(completions[i].stop))});
  }
  return {.decoding = greedy ? "greedy" : "sampled",
          .answers = gather_answers(communicator, answers, places, prompts.size())};
}

std::filesystem::path evaluation_file(const std::filesystem::path& run_dir, int64_t step) {
  return run_dir / "evaluations" / fmt::format("step-{}.json", step);
}

const Evaluation& of_decoding(const std::vector<Evaluation>& evaluations,
                              const std::string& decoding) {
  const auto found = std::ranges::find_if(
      evaluations, [&](const Evaluation& each) { return each.decoding == decoding; });
  if (found == evaluations.end())
    throw FormatError("an evaluation lacks its " + decoding + " answers");
  return *found;
}

// One number per prompt, the mean over its answers: several answers to one prompt are not
// independent, and an interval that took them for it would be too narrow.
std::vector<double> prompt_means(const std::vector<EvaluatedAnswer>& answers,
                                 double EvaluatedAnswer::*field) {
  std::map<int64_t, std::pair<double, int64_t>> sums;
  for (const EvaluatedAnswer& answer : answers) {
    auto& [sum, count] = sums[answer.prompt];
    sum += answer.*field;
    ++count;
  }
  std::vector<double> means;
  for (const auto& [prompt, entry] : sums) {
    means.push_back(entry.first / static_cast<double>(entry.second));
  }
  return means;
}

// Prompt by prompt, so that the interval is that of a paired comparison.
std::optional<MeanInterval> paired_difference(const Evaluation& before, const Evaluation& after) {
  std::vector<double> differences = prompt_means(after.answers, &EvaluatedAnswer::reward);
  const std::vector<double> first = prompt_means(before.answers, &EvaluatedAnswer::reward);
  if (first.size() != differences.size()) return std::nullopt;  // of different prompts
  for (size_t i = 0; i < first.size(); ++i) differences[i] -= first[i];
  return mean_interval(differences);
}

std::string one_line(std::string text, size_t limit) {
  std::ranges::replace(text, '\n', ' ');
  return printable(text, limit);
}

// Some answers from all over the file instead of from its beginning.
std::vector<const EvaluatedAnswer*> spread_over(const Evaluation& evaluation, int64_t count) {
  const auto wanted = std::min(static_cast<size_t>(count), evaluation.answers.size());
  std::vector<const EvaluatedAnswer*> chosen;
  for (size_t i = 0; i < wanted; ++i) {
    chosen.push_back(&evaluation.answers[i * evaluation.answers.size() / wanted]);
  }
  return chosen;
}

}  // namespace

MeanInterval Evaluation::reward() const {
  return mean_interval(prompt_means(answers, &EvaluatedAnswer::reward));
}
MeanInterval Evaluation::kl() const {
  return mean_interval(prompt_means(answers, &EvaluatedAnswer::kl));
}
double Evaluation::perplexity() const {
  const double tokens = mean_tokens() * static_cast<double>(answers.size());
  return std::exp(sum(column(answers, &EvaluatedAnswer::reference_nll)) / tokens);
}
double Evaluation::distinct_bigrams() const {
  return mean_interval(column(answers, &EvaluatedAnswer::distinct_bigrams)).mean;
}
double Evaluation::mean_tokens() const {
  double total = 0;
  for (const EvaluatedAnswer& answer : answers) total += static_cast<double>(answer.num_tokens);
  return total / static_cast<double>(answers.size());
}

Metrics Evaluation::metrics() const {
  const std::string prefix = "eval/" + decoding + "/";
  return {{prefix + "reward", reward().mean},
          {prefix + "kl", kl().mean},
          {prefix + "reference_perplexity", perplexity()},
          {prefix + "distinct_bigrams", distinct_bigrams()},
          {prefix + "response_length", mean_tokens()}};
}

std::vector<Evaluation> evaluate(const PolicySetup& setup, const PolicyConfig& config,
                                 const PolicyRoles& roles, const std::vector<PromptRecord>& prompts,
                                 Lanes& lanes, Communicator& communicator, int64_t step) {
  const auto decoded = [&](bool greedy) {
    return evaluate_decoding(setup, config, roles, prompts, lanes, greedy, communicator, step);
  };
  return {decoded(/*greedy=*/true), decoded(/*greedy=*/false)};
}

void write_evaluation(const std::filesystem::path& run_dir, int64_t step,
                      const std::vector<Evaluation>& evaluations) {
  ordered_json json = ordered_json::array();
  for (const Evaluation& evaluation : evaluations) {
    ordered_json answers = ordered_json::array();
    for (const EvaluatedAnswer& answer : evaluation.answers) answers.push_back(answer_json(answer));
    json.push_back({{"decoding", evaluation.decoding}, {"answers", answers}});
  }
  std::filesystem::create_directories(run_dir / "evaluations");
  write_text_file(evaluation_file(run_dir, step), json.dump(1));
}

bool has_evaluation(const std::filesystem::path& run_dir, int64_t step) {
  return std::filesystem::exists(evaluation_file(run_dir, step));
}

std::vector<Evaluation> read_evaluation(const std::filesystem::path& run_dir, int64_t step) {
  const auto file = evaluation_file(run_dir, step);
  try {
    std::vector<Evaluation> evaluations;
    for (const auto& entry : read_json_file(file)) {
      Evaluation evaluation{.decoding = entry.at("decoding")};
      for (const auto& answer : entry.at("answers")) {
        evaluation.answers.push_back(read_answer(answer));
      }
      evaluations.push_back(std::move(evaluation));
    }
    return evaluations;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(file.string() + ": is not an evaluation (" + error.what() + ")");
  }
}

std::string evaluation_table(const std::vector<Evaluation>& evaluations,
                             const std::vector<PromptRecord>& prompts, int64_t num_samples) {
  std::string table;
  for (const Evaluation& each : evaluations) {
    table += fmt::format(
        "{}: {} answers\n  reward [95 %]                {}\n  exact KL, nats per answer    {}\n"
        "  perplexity under reference   {:.2f}\n  distinct bigrams             {:.3f}\n"
        "  tokens per answer            {:.1f}\n",
        each.decoding, each.answers.size(), interval_text(each.reward()), interval_text(each.kl()),
        each.perplexity(), each.distinct_bigrams(), each.mean_tokens());
  }
  for (const EvaluatedAnswer* answer :
       spread_over(of_decoding(evaluations, "greedy"), num_samples)) {
    const auto prompt = static_cast<size_t>(answer->prompt);
    if (prompt < prompts.size()) table += "\nprompt: " + one_line(prompts[prompt].display, 300);
    table += fmt::format("\n  ({:.2f}) {}\n", answer->reward, one_line(answer->text, 500));
  }
  return table;
}

std::string comparison_table(const std::vector<Evaluation>& before,
                             const std::vector<Evaluation>& after,
                             const std::vector<PromptRecord>& prompts, int64_t num_samples) {
  std::string table =
      fmt::format("{:<34} {:>26} {:>26}\n", "held-out prompts: " + std::to_string(prompts.size()),
                  "before", "after");
  for (const Evaluation& first : before) {
    const Evaluation& last = of_decoding(after, first.decoding);
    const auto row = [&](const std::string& name, const std::string& left,
                         const std::string& right) {
      table += fmt::format("{:<34} {:>26} {:>26}\n", first.decoding + ": " + name, left, right);
    };
    row("reward [95 %]", interval_text(first.reward()), interval_text(last.reward()));
    const auto gain = paired_difference(first, last);
    row("gain, paired [95 %]", "", gain ? interval_text(*gain) : "other prompts at the start");
    row("exact KL, nats per answer", interval_text(first.kl()), interval_text(last.kl()));
    row("perplexity under reference", fmt::format("{:.2f}", first.perplexity()),
        fmt::format("{:.2f}", last.perplexity()));
    row("distinct bigrams", fmt::format("{:.3f}", first.distinct_bigrams()),
        fmt::format("{:.3f}", last.distinct_bigrams()));
    row("tokens per answer", fmt::format("{:.1f}", first.mean_tokens()),
        fmt::format("{:.1f}", last.mean_tokens()));
  }
  const Evaluation& first = of_decoding(before, "greedy");
  const Evaluation& last = of_decoding(after, "greedy");
  for (const EvaluatedAnswer* answer : spread_over(first, num_samples)) {
    const auto at = static_cast<size_t>(answer - first.answers.data());
    const auto prompt = static_cast<size_t>(answer->prompt);
    if (at >= last.answers.size() || prompt >= prompts.size()) continue;
    table += fmt::format("\nprompt: {}\n  before ({:.2f}): {}\n  after  ({:.2f}): {}\n",
                         one_line(prompts[prompt].display, 300), answer->reward,
                         one_line(answer->text, 500), last.answers[at].reward,
                         one_line(last.answers[at].text, 500));
  }
  return table;
}

}  // namespace leash
