// The report's figures as CSV, and the figures by which a policy is refused.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "rl/report/kl_report.h"
#include "rl/statistics/statistics.h"

namespace leash {
namespace {

// RFC 4180.
std::string csv_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

double quotient(double value, double reference) { return reference == 0 ? 0 : value / reference; }

using FigureOf = std::function<double(const KlReport&, const KlPolicyReport&)>;
const std::vector<std::pair<std::string, FigureOf>>& drift_figures() {
  using Report = const KlReport&;
  using Policy = const KlPolicyReport&;
  static const std::vector<std::pair<std::string, FigureOf>> figures = {
      {"kl", [](Report, Policy p) { return p.summary.kl.sequence.mean; }},
      {"kl_token", [](Report, Policy p) { return p.summary.kl.mean_token; }},
      {"reverse_kl", [](Report, Policy p) { return p.drift.reverse_kl.mean_token; }},
      {"js", [](Report, Policy p) { return p.drift.js.mean_token; }},
      {"disagreement", [](Report, Policy p) { return 1 - p.drift.same_top.mean_token; }},
      {"length_ratio",
       [](Report r, Policy p) {
         return quotient(p.style.mean_tokens, r.reference_style->mean_tokens);
       }},
      {"repetition", [](Report, Policy p) { return p.style.repetition; }}};
  return figures;
}

void add_summary_rows(std::string& csv, const std::string& policy, const std::string& group,
                      const DriftSummary& drift) {
  for (const DriftColumn& column : drift_columns()) {
    const DriftMeasure& measure = drift.*column.summary;
    csv += fmt::format("{},{},{},{},{},{}\n", csv_text(policy), csv_text(group), column.key,
                       measure.mean_token, measure.ci95 ? fmt::format("{}", measure.ci95->low) : "",
                       measure.ci95 ? fmt::format("{}", measure.ci95->high) : "");
  }
}

}  // namespace

std::vector<std::string> drift_figure_names() {
  std::vector<std::string> names;
  for (const auto& [name, figure] : drift_figures()) names.push_back(name);
  return names;
}

std::optional<double> drift_figure(const KlReport& report, const KlPolicyReport& policy,
                                   const std::string& name) {
  if (name == "length_ratio" && !report.reference_style) return std::nullopt;
  for (const auto& [known, figure] : drift_figures()) {
    if (known == name) return figure(report, policy);
  }
  return std::nullopt;
}

std::string kl_positions_csv(const KlReport& report) {
  std::string csv =
      "policy,position,texts,kl,k1,k3,reverse_kl,js,entropy,reference_entropy,"
      "top1_agreement\n";
  for (const KlPolicyReport& policy : report.policies) {
    for (const KlPosition& at : policy.summary.positions) {
      const auto j = static_cast<size_t>(at.position - 1);
      const auto n = static_cast<double>(at.num_texts);
      csv += fmt::format("{},{},{},{},{},{}", csv_text(policy.policy), at.position, at.num_texts,
                         at.kl_sum / n, at.k1_sum / n, at.k3_sum / n);
      for (const DriftColumn& column : drift_columns().subspan(1)) {
        double total = 0;
        for (const KlReportText& text : policy.texts) {
          const auto& values = text.divergence.*column.values;
          total += j < values.size() ? values[j] : 0;
        }
        csv += fmt::format(",{}", total / n);
      }
      csv += "\n";
    }
  }
  return csv;
}

// The most drifted first.
std::string kl_prompts_csv(const KlReport& report) {
  std::string csv = "policy,line,sample,group,tokens,kl,reverse_kl,js,k1\n";
  for (const KlPolicyReport& policy : report.policies) {
    std::vector<const KlReportText*> order;
    for (const KlReportText& text : policy.texts) order.push_back(&text);
    std::ranges::stable_sort(order, std::ranges::greater{},
                             [](const KlReportText* text) { return sum(text->values.kl); });
    for (const KlReportText* text : order) {
      csv += fmt::format("{},{},{},{},{},{},{},{},{}\n", csv_text(policy.policy), text->line,
                         text->sample, csv_text(text->group), text->values.kl.size(),
                         sum(text->values.kl), sum(text->divergence.reverse_kl),
                         sum(text->divergence.js),
                         sum(text->values.logprobs) - sum(text->values.reference_logprobs));
    }
  }
  return csv;
}

std::string kl_summary_csv(const KlReport& report) {
  std::string csv = "policy,group,measure,mean_token,low,high\n";
  for (const KlPolicyReport& policy : report.policies) {
    add_summary_rows(csv, policy.policy, "", policy.drift);
    for (const auto& [group, drift] : policy.groups) {
      add_summary_rows(csv, policy.policy, group, drift);
    }
  }
  return csv;
}

}  // namespace leash
