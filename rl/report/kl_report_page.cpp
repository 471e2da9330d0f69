// The report as one offline page: curves per position, and every token coloured by log p/q.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string_view>

#include "rl/report/html.h"
#include "rl/report/kl_drift_page.h"
#include "rl/report/kl_report.h"
#include "rl/report/svg_chart.h"
#include "rl/statistics/statistics.h"

namespace leash {
namespace {

constexpr size_t kMaxTexts = 60;      // shown with their tokens; all of them are in report.json
constexpr size_t kMaxBars = 20;       // in the list of the texts that drifted most
constexpr int64_t kFewestInBand = 3;  // an interval over two texts is wider than any chart
constexpr int kShades = 4;            // of each colour

constexpr std::string_view kCss = R"css(
main { --c0: #2563eb; --c1: #d97706; --c2: #059669; --c3: #db2777; --c4: #7c3aed; --c5: #0891b2;
  --up: 37, 99, 235; --down: 217, 90, 6; }
@media (prefers-color-scheme: dark) {
  main { --c0: #6ea8fe; --c1: #fbbf24; --c2: #34d399; --c3: #f472b6; --c4: #a78bfa; --c5: #22d3ee;
    --up: 96, 156, 255; --down: 251, 146, 60; }
}
.charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); margin-top: 20px; }
.name { overflow-wrap: anywhere; }
.name::before { content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 3px;
  margin-right: 8px; background: var(--own); }
.bars { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); gap: 6px 18px;
  align-items: center; font-size: 14px; }
.bars .what { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.bars a { color: var(--accent); text-decoration: none; font-variant-numeric: tabular-nums; }
.bar { display: flex; align-items: center; gap: 8px; font-size: 12px; line-height: 14px;
  font-variant-numeric: tabular-nums; }
.bar i { display: block; height: 10px; min-width: 2px; border-radius: 0 4px 4px 0; background: var(--own); }
.legend { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 14px; font-size: 13px;
  position: sticky; top: 0; z-index: 2; background: var(--bg); padding: 10px 0; }
.legend .scale { display: flex; }
.legend .scale span { padding: 2px 9px; }
.entry { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; margin-bottom: 14px; scroll-margin-top: 60px; }
.entry > .head { display: flex; gap: 12px; align-items: baseline; margin-bottom: 8px; }
.entry .sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr));
  gap: 10px 24px; }
.entry .ctx { max-height: 7.5em; overflow: auto; font-size: 13px; border-left: 3px solid var(--line);
  padding-left: 10px; margin: 4px 0 8px; }
.entry .side > .sum { font-size: 13px; margin-bottom: 4px; }
.tokens { line-height: 1.9; }
.t { position: relative; border-radius: 3px; padding: 2px 0; -webkit-box-decoration-break: clone;
  box-decoration-break: clone; }
.t:hover { outline: 2px solid var(--ink); outline-offset: -1px; z-index: 3; }
.t:hover::after { content: attr(data-t); position: absolute; left: 0; top: calc(100% + 6px); z-index: 4;
  white-space: pre; background: var(--ink); color: var(--bg); border-radius: 8px; padding: 8px 12px;
  font: 12px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; pointer-events: none;
  box-shadow: 0 6px 22px rgba(0, 0, 0, 0.25); }
.u1 { background: rgba(var(--up), 0.13); } .u2 { background: rgba(var(--up), 0.27); }
.u3 { background: rgba(var(--up), 0.43); } .u4 { background: rgba(var(--up), 0.62); }
.d1 { background: rgba(var(--down), 0.13); } .d2 { background: rgba(var(--down), 0.27); }
.d3 { background: rgba(var(--down), 0.43); } .d4 { background: rgba(var(--down), 0.62); }
)css";

std::string own_colour(size_t policy) {
  return fmt::format("style=\"--own:var(--c{})\"", policy % 6);
}

std::string short_number(double value) { return fmt::format("{:.3g}", value); }

std::string interval_cell(const MeanInterval& mean) {
  if (!mean.ci95) return short_number(mean.mean);
  return fmt::format("{} <span class=muted>[{}, {}]</span>", short_number(mean.mean),
                     short_number(mean.ci95->low), short_number(mean.ci95->high));
}

// ---- The figures of each policy.
std::string summary_table(const KlReport& report) {
  std::string rows;
  for (size_t i = 0; i < report.policies.size(); ++i) {
    const KlPolicyReport& policy = report.policies[i];
    const KlSummary& s = policy.summary;
    rows += fmt::format(
        "<tr><td class=name {}>{}</td><td class=num>{}</td><td class=num>{}</td>"
        "<td class=num><b>{}</b></td><td class=num>{}</td><td class=num>{}</td>"
        "<td class=num>{}</td></tr>\n",
        own_colour(i), html_escape(policy.policy), s.num_texts, s.num_tokens,
        interval_cell(s.kl.sequence), fmt::format("{:.4g}", s.kl.mean_token),
        interval_cell(s.k1.sequence), interval_cell(s.k3.sequence));
  }
  return "<table style=\"margin-top:20px\"><tr><th>policy</th><th class=num>texts</th>"
         "<th class=num>tokens</th><th class=num>exact KL per text [95&thinsp;%]</th>"
         "<th class=num>per token</th><th class=num>k1 per text</th>"
         "<th class=num>k3 per text</th></tr>\n" +
         rows + "</table>\n";
}

// ---- The curves.
ChartSeries curve(const KlSummary& summary, std::string name, MeanInterval KlPosition::*what,
                  bool band) {
  constexpr double kGap = std::numeric_limits<double>::quiet_NaN();
  ChartSeries series;
  series.name = std::move(name);
  for (const KlPosition& at : summary.positions) {
    const MeanInterval& mean = at.*what;
    series.x.push_back(static_cast<double>(at.position));
    series.y.push_back(mean.mean);
    if (!band) continue;
    const bool known = mean.ci95 && mean.n >= kFewestInBand;
    series.low.push_back(known ? std::max(0.0, mean.ci95->low) : kGap);
    series.high.push_back(known ? mean.ci95->high : kGap);
  }
  return series;
}

std::string charts(const KlReport& report) {
  const bool sampled = any_sampled(report);
  LineChart kl;
  kl.title = "Exact KL per position";
  kl.x_label = sampled ? "token of the answer" : "token of the text";
  kl.note = "nats; mean over texts, 95 % interval";
  kl.from_zero = true;
  std::string estimates;
  for (const KlPolicyReport& policy : report.policies) {
    kl.series.push_back(curve(policy.summary, policy.policy, &KlPosition::kl, /*band=*/true));
    LineChart chart;
    chart.title =
        report.policies.size() == 1 ? "Exact KL and its estimates" : "Estimates: " + policy.policy;
    chart.x_label = kl.x_label;
    chart.note = sampled ? "nats; k1 and k3 look at the drawn token only"
                         : "nats; k1 and k3 look at the given token only";
    chart.from_zero = true;
    chart.series.push_back(curve(policy.summary, "exact", &KlPosition::kl, false));
    chart.series.push_back(curve(policy.summary, "k1", &KlPosition::k1, false));
    chart.series.push_back(curve(policy.summary, "k3", &KlPosition::k3, false));
    estimates += svg_line_chart(chart) + "\n";
  }
  return "<div class=charts>\n" + svg_line_chart(kl) + "\n" + estimates + "</div>\n";
}

// ---- The texts.

// Places of texts in a policy's list, largest KL (over all policies) first.
std::vector<size_t> by_drift(const KlReport& report) {
  std::vector<size_t> order(report.policies.front().texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto drift = [&report](size_t i) {
    double most = 0;
    for (const auto& policy : report.policies)
      most = std::max(most, sum(policy.texts[i].values.kl));
    return most;
  };
  std::ranges::stable_sort(order, std::ranges::greater{}, drift);
  return order;
}

std::string label_of(const KlReportText& text) {
  if (text.sample == 0) return fmt::format("line {}", text.line);
  return fmt::format("line {} · answer {}", text.line, text.sample + 1);
}

// The first words of a text, or of a sampled answer.
std::string snippet(const KlReportText& text) {
  std::string words;
  if (!text.sampled) words = text.text;
  for (size_t i = 0; text.sampled && i < text.tokens.size() && words.size() < 160; ++i) {
    words += text.tokens[i];
  }
  return html_escape(std::string_view(words).substr(0, 160));
}

std::string bars(const KlReport& report, const std::vector<size_t>& order) {
  double largest = 1e-12;
  for (const auto& policy : report.policies) {
    for (const auto& text : policy.texts) largest = std::max(largest, sum(text.values.kl));
  }
  std::string rows;
  for (size_t rank = 0; rank < std::min(kMaxBars, order.size()); ++rank) {
    const KlReportText& first = report.policies.front().texts[order[rank]];
    rows += fmt::format("<div class=what><a href=\"#t{}\">{}</a> &ensp;{}</div><div>", order[rank],
                        label_of(first), snippet(first));
    for (size_t i = 0; i < report.policies.size(); ++i) {
      const double kl = sum(report.policies[i].texts[order[rank]].values.kl);
      rows += fmt::format("<div class=bar {}><i style=\"width:{:.1f}%\"></i>{}</div>",
                          own_colour(i), std::max(0.0, 80 * kl / largest), short_number(kl));
    }
    rows += "</div>\n";
  }
  return "<h2>Texts that drifted most</h2>\n<p class=muted>exact KL of the whole text, nats</p>\n"
         "<div class=bars>\n" +
         rows + "</div>\n";
}

// The log-ratio that gets the darkest shade: large enough that few tokens exceed it.
double shade_scale(const KlReport& report) {
  std::vector<double> sizes;
  for (const auto& policy : report.policies) {
    for (const auto& text : policy.texts) {
      for (size_t j = 0; j < text.values.kl.size(); ++j) {
        sizes.push_back(std::abs(text.values.log_ratio(j)));
      }
    }
  }
  if (sizes.empty()) return 1;
  const auto at =
      sizes.begin() + static_cast<int64_t>(0.97 * static_cast<double>(sizes.size() - 1));
  std::ranges::nth_element(sizes, at);
  return std::max(0.05, *at);
}

std::string shade_class(double log_ratio, double scale) {
  const double steps = std::abs(log_ratio) / scale * kShades;
  // NaN and small ratios stay white.
  const int shade =
      steps >= 0.5 ? static_cast<int>(std::min<double>(kShades, std::round(steps))) : 0;
  return shade == 0 ? "" : fmt::format(" {}{}", log_ratio > 0 ? 'u' : 'd', shade);
}

std::string token_span(const KlReportText& text, size_t j, double scale) {
  const KlText& v = text.values;
  std::string shown = html_escape(text.tokens[j]);
  if (const size_t newline = shown.find('\n'); newline != std::string::npos) {
    shown.insert(newline, "<span class=muted>↵</span>");
  }
  const std::string tip = fmt::format(
      "token {}  id {}\nlog p  {:9.4f}  policy\nlog q  {:9.4f}  reference\nlog p/q{:9.4f}\nKL     "
      "{:9.4f}",
      j + 1, text.ids[static_cast<size_t>(text.answer_begin) + j], v.logprobs[j],
      v.reference_logprobs[j], v.log_ratio(j), v.kl[j]);
  return fmt::format("<span class=\"t{}\" data-t=\"{}\">{}</span>",
                     shade_class(v.log_ratio(j), scale), tip, shown);
}

std::string side(const KlReport& report, size_t policy, size_t index, double scale) {
  const KlReportText& text = report.policies[policy].texts[index];
  std::string tokens;
  for (size_t j = 0; j < text.values.kl.size(); ++j) tokens += token_span(text, j, scale);
  const std::string name =
      report.policies.size() == 1
          ? ""
          : fmt::format("<span class=name {}>{}</span> &ensp;", own_colour(policy),
                        html_escape(report.policies[policy].policy));
  // What a text begins with stands on its line, a prompt in a box of its own (see entry).
  const std::string begin =
      text.sampled ? "" : "<span class=muted>" + html_escape(text.context) + "</span>";
  return fmt::format(
      "<div class=side><div class=\"sum muted\">{}KL {} over {} tokens</div>"
      "<div class=\"text tokens\">{}{}</div></div>\n",
      name, short_number(sum(text.values.kl)), text.values.kl.size(), begin, tokens);
}

std::string entry(const KlReport& report, size_t index, double scale) {
  const KlReportText& first = report.policies.front().texts[index];
  std::string html = fmt::format("<div class=entry id=t{}><div class=head><b>{}</b></div>", index,
                                 label_of(first));
  if (first.sampled) {
    html += "<div class=\"ctx text muted\">" + html_escape(first.context) + "</div>";
  }
  html += "<div class=sides>\n";
  for (size_t i = 0; i < report.policies.size(); ++i) html += side(report, i, index, scale);
  return html + "</div></div>\n";
}

std::string legend(double scale) {
  std::string shades;
  for (int i = kShades; i >= 1; --i)
    shades += fmt::format("<span class=d{}>−{:.2g}</span>", i, i * scale / kShades);
  shades += "<span>0</span>";
  for (int i = 1; i <= kShades; ++i)
    shades += fmt::format("<span class=u{}>{:.2g}</span>", i, i * scale / kShades);
  return "<div class=legend><span class=muted>the reference likes it more</span><div class=scale>" +
         shades +
         "</div><span class=muted>the policy likes it more</span>"
         "<span class=muted>log p/q in nats; point at a token for its numbers</span></div>\n";
}

std::string texts(const KlReport& report, const std::vector<size_t>& order) {
  const double scale = shade_scale(report);
  std::string html = "<h2>Token by token</h2>\n";
  if (order.size() > kMaxTexts) {
    html += fmt::format(
        "<p class=muted>{} of {} texts, the largest KL first; report.json has all.</p>\n",
        kMaxTexts, order.size());
  }
  html += legend(scale);
  for (size_t i = 0; i < std::min(kMaxTexts, order.size()); ++i) {
    html += entry(report, order[i], scale);
  }
  return html;
}

}  // namespace

std::string kl_report_page(const KlReport& report) {
  std::string body = fmt::format(
      "<p class=muted>How far the policy moved from its reference: model {}, reference {}, "
      "in nats at temperature 1{}.</p>\n",
      html_escape(report.model), html_escape(report.reference),
      any_sampled(report)
          ? fmt::format("; prompts were answered by each policy itself (temperature {}, seed {}){}",
                        report.generation.sampling.temperature, report.generation.seed,
                        biased_estimates(report)
                            ? ", so k1 and k3 are log-ratios and not estimates of the KL"
                            : "")
          : "; the texts were given, so k1 and k3 are log-ratios and not estimates of the KL");
  const std::vector<size_t> order = by_drift(report);
  body += summary_table(report) + drift_overview_html(report) + charts(report) +
          bars(report, order) + drift_details_html(report) + texts(report, order);
  return html_page("KL(policy ‖ reference)", body, kCss);
}

}  // namespace leash
