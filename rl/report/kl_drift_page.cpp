#include "rl/report/kl_drift_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "rl/report/html.h"
#include "rl/report/svg_chart.h"

namespace leash {
namespace {

// What a figure means, and when to worry.
const char* meaning_of(std::string_view key) {
  static const std::map<std::string_view, const char*> meanings = {
      {"kl",
       "nats by which the policy surprises the reference at each token it may say; a mean "
       "of 0.1 is close, above 0.5 the answers are other texts"},
      {"reverse_kl",
       "nats by which the reference would surprise the policy; far above the other "
       "direction: the policy gave up things that the reference says"},
      {"js",
       "both directions against their mean, at most 0.693; above 0.1 the two differ at most "
       "states"},
      {"entropy", "how undecided the policy is; falling towards 0 it always says the same"},
      {"reference_entropy", "the same of the reference, on these texts"},
      {"top1_agreement",
       "share of states at which both like the same token most; below 0.8 greedy "
       "answers part after a few tokens"}};
  const auto found = meanings.find(key);
  return found == meanings.end() ? "" : found->second;
}

std::string measure_cell(const DriftMeasure& measure) {
  std::string text = fmt::format("{:.4f}", measure.mean_token);
  if (measure.ci95) {
    text += fmt::format(" <span class=muted>[{:.4f}, {:.4f}]</span>", measure.ci95->low,
                        measure.ci95->high);
  }
  return "<td class=num>" + text + "</td>";
}

std::string table_of(const std::string& head, const std::string& rows) {
  return "<div style=\"overflow-x:auto\"><table>" + head + rows + "</table></div>\n";
}

std::string policy_heads(const KlReport& report) {
  std::string heads;
  for (const KlPolicyReport& policy : report.policies) {
    heads += "<th class=num>" + html_escape(policy.policy) + "</th>";
  }
  return heads;
}

std::string measures_table(const KlReport& report) {
  std::string rows;
  for (const DriftColumn& column : drift_columns()) {
    rows += fmt::format("<tr><td>{}<div class=muted>{}</div></td>", html_escape(column.words),
                        meaning_of(column.key));
    for (const KlPolicyReport& policy : report.policies) {
      rows += measure_cell(policy.drift.*column.summary);
    }
    rows += "</tr>\n";
  }
  return table_of("<tr><th>per token, 95&thinsp;% by a bootstrap over prompts</th>" +
                      policy_heads(report) + "</tr>\n",
                  rows);
}

std::string estimates_table(const KlReport& report) {
  std::string rows;
  for (const KlPolicyReport& policy : report.policies) {
    for (const auto& [name, error] :
         {std::pair{"k1", &policy.drift.k1}, {"k2", &policy.drift.k2}, {"k3", &policy.drift.k3}}) {
      rows += fmt::format(
          "<tr><td>{}</td><td>{}</td><td class=num>{:.5f}</td><td class=num>{:+.5f}</td>"
          "<td class=num>{:.5f}</td></tr>\n",
          html_escape(policy.policy), name, error->mean, error->bias, error->variance);
    }
  }
  return "<details><summary>What k1, k2 and k3 are worth here, against the exact value</summary>" +
         table_of(
             "<tr><th>policy</th><th>estimate</th><th class=num>mean</th><th class=num>bias"
             "</th><th class=num>variance of its error</th></tr>\n",
             rows) +
         "</details>\n";
}

std::string groups_table(const KlReport& report) {
  std::string rows;
  for (const KlPolicyReport& policy : report.policies) {
    for (const auto& [group, drift] : policy.groups) {
      rows +=
          fmt::format("<tr><td>{}</td><td>{}</td><td class=num>{}</td>{}{}{}</tr>\n",
                      html_escape(policy.policy), html_escape(group), drift.num_texts,
                      measure_cell(drift.kl), measure_cell(drift.js), measure_cell(drift.same_top));
    }
  }
  if (rows.empty()) return {};
  return "<h2>By group of prompts</h2>\n" +
         table_of(
             "<tr><th>policy</th><th>group</th><th class=num>texts</th><th class=num>KL per "
             "token</th><th class=num>Jensen–Shannon</th><th class=num>agreement</th></tr>\n",
             rows);
}

// Of a run's snapshots.
std::string steps_chart(const KlReport& report) {
  LineChart kl{.title = "KL by step of training",
               .x_label = "step",
               .note = "nats per token, 95 % over prompts",
               .from_zero = true};
  ChartSeries series{.name = "KL(policy ‖ reference)"};
  for (const KlPolicyReport& policy : report.policies) {
    if (!policy.step) continue;
    const DriftMeasure& measure = policy.drift.kl;
    const Interval interval =
        measure.ci95.value_or(Interval{measure.mean_token, measure.mean_token});
    series.x.push_back(static_cast<double>(*policy.step));
    series.y.push_back(measure.mean_token);
    series.low.push_back(interval.low);
    series.high.push_back(interval.high);
  }
  if (series.x.size() < 2) return {};
  kl.series.push_back(std::move(series));
  return "<div class=charts>\n" + svg_line_chart(kl) + "</div>\n";
}

// Some tokens before a place, the token itself in bold.
std::string context_of(const KlPolicyReport& policy, int64_t text, int64_t place) {
  if (text < 0) return "";
  constexpr int64_t kBefore = 12;
  const KlReportText& owner = policy.texts.at(static_cast<size_t>(text));
  std::string before;
  for (int64_t j = std::max<int64_t>(0, place - kBefore); j < place; ++j) {
    before += owner.tokens.at(static_cast<size_t>(j));
  }
  return fmt::format("<a href=\"#t{}\">…</a>{} <b>▸</b>", text, html_escape(before));
}

std::string token_rows(const KlPolicyReport& policy, const std::vector<MovedToken>& tokens,
                       const std::vector<std::string>& names) {
  std::string rows;
  for (size_t i = 0; i < tokens.size(); ++i) {
    rows += fmt::format(
        "<tr><td><code>{}</code></td><td class=num>{:.5f}</td><td class=num>{:.5f}</td><td "
        "class=num>{:+.5f}</td><td>{}</td></tr>\n",
        html_escape(names.at(i)), tokens[i].reference, tokens[i].policy, tokens[i].difference(),
        context_of(policy, tokens[i].text, tokens[i].place));
  }
  return rows;
}

std::string ngram_rows(const KlPolicyReport& policy,
                       const std::vector<std::pair<std::string, MovedNgram>>& ngrams) {
  std::string rows;
  for (const auto& [text, ngram] : ngrams) {
    rows += fmt::format(
        "<tr><td><code>{}</code></td><td class=num>{}</td><td class=num>{:+.2f}</td><td>{}</td>"
        "</tr>\n",
        html_escape(text), ngram.times, ngram.log_ratio,
        context_of(policy, ngram.text, ngram.place));
  }
  return rows;
}

std::string moved_html(const KlPolicyReport& policy) {
  const std::string head =
      "<tr><th>token</th><th class=num>reference</th><th class=num>policy</th><th class=num>moved"
      "</th><th>where it moved most</th></tr>\n";
  const std::string ngram_head =
      "<tr><th>words</th><th class=num>times</th><th class=num>Σ log p/q</th><th>first place</th>"
      "</tr>\n";
  return fmt::format(
      "<h2>What {} now says</h2>\n<p class=muted>Mean probability over all states of the texts: "
      "also of tokens that were not drawn.</p>\n{}<h2>What it no longer says</h2>\n{}"
      "<details><summary>words in a row that it likes more, and less</summary>{}{}</details>\n",
      html_escape(policy.policy),
      table_of(head, token_rows(policy, policy.moved.gained, policy.gained_tokens)),
      table_of(head, token_rows(policy, policy.moved.lost, policy.lost_tokens)),
      table_of(ngram_head, ngram_rows(policy, policy.liked)),
      table_of(ngram_head, ngram_rows(policy, policy.disliked)));
}

std::string style_html(const KlReport& report) {
  std::string rows;
  const auto row = [&](const std::string& name, const auto& value) {
    rows += "<tr><td>" + html_escape(name) + "</td>";
    if (report.reference_style) {
      rows += fmt::format("<td class=num>{:.3f}</td>", value(*report.reference_style));
    }
    for (const KlPolicyReport& policy : report.policies) {
      rows += fmt::format("<td class=num>{:.3f}</td>", value(policy.style));
    }
    rows += "</tr>\n";
  };
  using Style = const AnswerStyle&;
  row("tokens per answer", [](Style s) { return s.mean_tokens; });
  row("repeated 4-grams within an answer", [](Style s) { return s.repetition; });
  row("distinct tokens", [](Style s) { return s.distinct_1; });
  row("distinct bigrams", [](Style s) { return s.distinct_2; });
  row("distinct trigrams", [](Style s) { return s.distinct_3; });
  const auto& matches = report.policies.front().style.matches;
  for (size_t i = 0; i < matches.size(); ++i) {
    row("answers with " + matches[i].first, [i](Style s) { return s.matches.at(i).second; });
  }
  const std::string reference =
      report.reference_style ? "<th class=num>reference</th>" : std::string();
  return "<h2>How the answers read</h2>\n" +
         table_of("<tr><th></th>" + reference + policy_heads(report) + "</tr>\n", rows);
}

// The mean over a layer's modules.
ChartSeries by_layer(const KlPolicyReport& policy) {
  ChartSeries series{.name = policy.policy};
  std::map<int64_t, std::pair<double, double>> layers;
  for (const WeightDrift& each : policy.weights) {
    auto& [total, count] = layers[each.layer];
    total += each.relative();
    ++count;
  }
  for (const auto& [layer, sums] : layers) {
    if (layer < 0) continue;
    series.x.push_back(static_cast<double>(layer));
    series.y.push_back(sums.first / sums.second);
  }
  return series;
}

std::string weights_html(const KlReport& report) {
  constexpr size_t kModules = 30;
  LineChart norms{.title = "‖ΔW‖ against ‖W‖ by layer",
                  .x_label = "layer",
                  .note = "mean over a layer's modules",
                  .from_zero = true};
  LineChart off{.title = "KL with one layer's adapter off",
                .x_label = "layer",
                .note = "nats per token; far below the rest: that layer carries the change",
                .from_zero = true};
  std::string tables;
  for (const KlPolicyReport& policy : report.policies) {
    norms.series.push_back(by_layer(policy));
    ChartSeries ablated{.name = policy.policy};
    for (const LayerAblation& each : policy.ablations) {
      ablated.x.push_back(static_cast<double>(each.layer));
      ablated.y.push_back(each.kl);
    }
    if (!ablated.x.empty()) off.series.push_back(std::move(ablated));
    std::vector<const WeightDrift*> order;
    for (const WeightDrift& each : policy.weights) order.push_back(&each);
    std::ranges::stable_sort(order, std::ranges::greater{},
                             [](auto* each) { return each->relative(); });
    std::string rows;
    for (size_t i = 0; i < std::min(kModules, order.size()); ++i) {
      const WeightDrift& each = *order[i];
      rows += fmt::format(
          "<tr><td>{}</td><td class=num>{:.4g}</td><td class=num>{:.4f}</td><td class=num>{:.2f} "
          "of {}</td></tr>\n",
          html_escape(each.module), each.delta, each.relative(), each.effective_rank, each.rank);
    }
    tables += fmt::format(
        "<details><summary>modules of {} that changed most</summary>{}</details>\n",
        html_escape(policy.policy),
        table_of("<tr><th>module</th><th class=num>‖ΔW‖</th><th class=num>‖ΔW‖ / ‖W‖</th><th "
                 "class=num>effective rank</th></tr>\n",
                 rows));
  }
  std::string charts = svg_line_chart(norms);
  if (!off.series.empty()) charts += svg_line_chart(off);
  return "<h2>Where in the network</h2>\n<p class=muted>An effective rank far below the adapter's "
         "says that a smaller r would do.</p>\n<div class=charts>\n" +
         charts + "</div>\n" + tables;
}

bool has_drift(const KlReport& report) {
  return std::ranges::all_of(
      report.policies, [](const KlPolicyReport& policy) { return policy.drift.num_tokens > 0; });
}

}  // namespace

std::string drift_overview_html(const KlReport& report) {
  if (!has_drift(report)) return {};
  return "<h2>How far</h2>\n" + measures_table(report) + estimates_table(report) +
         steps_chart(report) + groups_table(report);
}

std::string drift_details_html(const KlReport& report) {
  if (!has_drift(report)) return {};
  std::string moved;
  for (const KlPolicyReport& policy : report.policies) moved += moved_html(policy);
  return moved + style_html(report) + weights_html(report);
}

}  // namespace leash
