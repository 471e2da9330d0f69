// The report as JSON and as a table for the terminal.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "rl/report/kl_report.h"
#include "rl/run/json_line.h"
#include "rl/statistics/statistics.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

ordered_json ci95_json(const MeanInterval& mean) {
  if (!mean.ci95) return nullptr;  // of one text
  return {mean.ci95->low, mean.ci95->high};
}

ordered_json measure_json(const KlMeasure& measure) {
  return {{"mean_token", measure.mean_token},
          {"mean_sequence", measure.sequence.mean},
          {"ci95", ci95_json(measure.sequence)}};
}

ordered_json position_json(const KlPosition& at) {
  return {{"position", at.position},  {"n", at.num_texts},          {"kl", at.kl.mean},
          {"ci95", ci95_json(at.kl)}, {"k1", at.k1.mean},           {"k1_ci95", ci95_json(at.k1)},
          {"k3", at.k3.mean},         {"k3_ci95", ci95_json(at.k3)}};
}

ordered_json text_json(const KlReportText& text) {
  std::vector<double> log_ratio, k3;
  for (size_t j = 0; j < text.values.kl.size(); ++j) {
    log_ratio.push_back(text.values.log_ratio(j));
    k3.push_back(k3_estimate(log_ratio.back()));
  }
  ordered_json json = {
      {"line", text.line},
      {"sample", text.sample},
      {"sampled", text.sampled},
      {"text", text.text},
      {"context", text.context},
      {"token_ids", text.ids},
      {"answer_begin", text.answer_begin},
      {"tokens", text.tokens},
      {"kl", text.values.kl},
      {"log_ratio", log_ratio},
      {"logprobs", text.values.logprobs},
      {"reference_logprobs", text.values.reference_logprobs},
      {"sum", {{"kl", sum(text.values.kl)}, {"k1", sum(log_ratio)}, {"k3", sum(k3)}}}};
  if (!text.group.empty()) json["group"] = text.group;
  if (text.divergence.kl.empty()) return json;
  for (const DriftColumn& column : drift_columns().subspan(1)) {
    json[column.key] = text.divergence.*column.values;
  }
  return json;
}

ordered_json drift_json(const DriftSummary& drift) {
  ordered_json json = {{"num_texts", drift.num_texts}, {"num_tokens", drift.num_tokens}};
  for (const DriftColumn& column : drift_columns()) {
    const DriftMeasure& measure = drift.*column.summary;
    json[column.key] = {{"mean_token", measure.mean_token}, {"ci95", nullptr}};
    if (measure.ci95) json[column.key]["ci95"] = {measure.ci95->low, measure.ci95->high};
  }
  for (const auto& [name, error] :
       {std::pair{"k1", &drift.k1}, {"k2", &drift.k2}, {"k3", &drift.k3}}) {
    json["estimates"][name] = {
        {"mean_token", error->mean}, {"bias", error->bias}, {"variance", error->variance}};
  }
  return json;
}

ordered_json moved_json(const std::vector<MovedToken>& tokens,
                        const std::vector<std::string>& texts) {
  ordered_json json = ordered_json::array();
  for (size_t i = 0; i < tokens.size(); ++i) {
    const MovedToken& token = tokens[i];
    json.push_back({{"token", texts.at(i)},
                    {"id", token.id},
                    {"policy", token.policy},
                    {"reference", token.reference},
                    {"text", token.text},
                    {"place", token.place}});
  }
  return json;
}

ordered_json ngrams_json(const std::vector<std::pair<std::string, MovedNgram>>& ngrams) {
  ordered_json json = ordered_json::array();
  for (const auto& [text, ngram] : ngrams) {
    json.push_back({{"text", text},
                    {"ids", ngram.ids},
                    {"times", ngram.times},
                    {"log_ratio", ngram.log_ratio},
                    {"first_text", ngram.text},
                    {"place", ngram.place}});
  }
  return json;
}

ordered_json style_json(const AnswerStyle& style) {
  ordered_json json = {{"mean_tokens", style.mean_tokens}, {"repetition", style.repetition},
                       {"distinct_1", style.distinct_1},   {"distinct_2", style.distinct_2},
                       {"distinct_3", style.distinct_3},   {"matches", ordered_json::array()}};
  for (const auto& [pattern, share] : style.matches) {
    json["matches"].push_back({{"pattern", pattern}, {"share", share}});
  }
  return json;
}

ordered_json weights_json(const std::vector<WeightDrift>& weights) {
  ordered_json json = ordered_json::array();
  for (const WeightDrift& each : weights) {
    json.push_back({{"module", each.module},
                    {"layer", each.layer},
                    {"rank", each.rank},
                    {"delta_norm", each.delta},
                    {"base_norm", each.base},
                    {"relative", each.relative()},
                    {"largest_singular_value", each.largest},
                    {"effective_rank", each.effective_rank}});
  }
  return json;
}

// What stands behind the keys that were there from the beginning.
void add_drift_json(const KlPolicyReport& policy, ordered_json& json) {
  if (policy.step) json["step"] = *policy.step;
  if (policy.drift.num_tokens == 0) return;
  json["drift"] = drift_json(policy.drift);
  for (const auto& [group, drift] : policy.groups) json["groups"][group] = drift_json(drift);
  json["moved"] = {{"gained", moved_json(policy.moved.gained, policy.gained_tokens)},
                   {"lost", moved_json(policy.moved.lost, policy.lost_tokens)},
                   {"liked_ngrams", ngrams_json(policy.liked)},
                   {"disliked_ngrams", ngrams_json(policy.disliked)}};
  json["style"] = style_json(policy.style);
  json["weights"] = weights_json(policy.weights);
  if (policy.ablations.empty()) return;
  json["ablation"] = {{"kl", policy.ablation_kl}, {"without_layer", ordered_json::array()}};
  for (const LayerAblation& each : policy.ablations) {
    json["ablation"]["without_layer"].push_back({{"layer", each.layer}, {"kl", each.kl}});
  }
}

ordered_json policy_json(const KlPolicyReport& policy) {
  ordered_json json = {{"policy", policy.policy},
                       {"num_texts", policy.summary.num_texts},
                       {"num_tokens", policy.summary.num_tokens},
                       {"kl", measure_json(policy.summary.kl)},
                       {"k1", measure_json(policy.summary.k1)},
                       {"k3", measure_json(policy.summary.k3)},
                       {"positions", ordered_json::array()},
                       {"prompts", ordered_json::array()}};
  for (const KlPosition& at : policy.summary.positions) {
    json["positions"].push_back(position_json(at));
  }
  for (const KlReportText& text : policy.texts) json["prompts"].push_back(text_json(text));
  add_drift_json(policy, json);
  return json;
}

std::string with_interval(const MeanInterval& mean) {
  if (!mean.ci95) return fmt::format("{:.4f}", mean.mean);
  return fmt::format("{:.4f} [{:.4f}, {:.4f}]", mean.mean, mean.ci95->low, mean.ci95->high);
}

std::string policy_table(const KlPolicyReport& policy) {
  const KlSummary& s = policy.summary;
  std::string text =
      fmt::format("{}: {} texts, {} tokens\n", policy.policy, s.num_texts, s.num_tokens);
  text += fmt::format("  {:<10} {:>10}   {}\n", "", "per token", "per sequence [95 %]");
  const auto row = [&text](const char* name, const KlMeasure& measure) {
    text += fmt::format("  {:<10} {:>10.5f}   {}\n", name, measure.mean_token,
                        with_interval(measure.sequence));
  };
  row("exact KL", s.kl);
  row("k1", s.k1);
  row("k3", s.k3);
  for (const DriftColumn& column : drift_columns().subspan(1)) {
    const DriftMeasure& measure = policy.drift.*column.summary;
    if (policy.drift.num_tokens == 0) break;
    text += fmt::format("  {:<30} {:>10.5f}{}\n", column.words, measure.mean_token,
                        measure.ci95 ? fmt::format("   [{:.5f}, {:.5f}] per token",
                                                   measure.ci95->low, measure.ci95->high)
                                     : "");
  }
  text += fmt::format("\n  {:<10} {:>8} {:>10} {:>10} {:>10}\n", "position", "tokens", "exact KL",
                      "k1", "k3");
  for (const KlPositionRange& range : position_ranges(s)) {
    const std::string name = range.first == range.last
                                 ? fmt::format("{}", range.first)
                                 : fmt::format("{}-{}", range.first, range.last);
    text += fmt::format("  {:<10} {:>8} {:>10.5f} {:>10.5f} {:>10.5f}\n", name, range.num_tokens,
                        range.kl, range.k1, range.k3);
  }
  return text;
}

}  // namespace

std::string kl_policy_json(const KlPolicyReport& policy) { return json_line(policy_json(policy)); }

std::string kl_report_json(const KlReport& report) {
  ordered_json json = {{"model", report.model},
                       {"reference", report.reference},
                       {"temperature", 1.0},
                       {"sampling",
                        {{"temperature", report.generation.sampling.temperature},
                         {"max_new_tokens", report.generation.max_new_tokens},
                         {"seed", report.generation.seed},
                         {"samples", report.samples}}},
                       {"policies", ordered_json::array()}};
  for (const KlPolicyReport& policy : report.policies) {
    json["policies"].push_back(policy_json(policy));
  }
  if (report.reference_style) json["reference_style"] = style_json(*report.reference_style);
  return json_line(json);
}

std::string kl_report_table(const KlReport& report) {
  std::string text =
      fmt::format("KL(policy || {}) in nats, model {}\n", report.reference, report.model);
  for (const KlPolicyReport& policy : report.policies) text += "\n" + policy_table(policy);
  if (biased_estimates(report)) {
    text += fmt::format(
        "\nanswers were sampled at temperature {}: k1 and k3 are log-ratios of these tokens and no "
        "estimates of the KL\n",
        report.generation.sampling.temperature);
  }
  return text;
}

}  // namespace leash
