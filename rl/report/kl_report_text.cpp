// The report as JSON and as a table for the terminal.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

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
  return {{"line", text.line},
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
