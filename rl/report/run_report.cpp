// report.html: figures, curves, answers before and after, and the configuration of a run.
#include "rl/report/run_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "models/io/posix_file.h"
#include "rl/report/calibration_chart.h"
#include "rl/report/html.h"
#include "rl/report/svg_chart.h"
#include "rl/reward_model/evaluation.h"

namespace leash {
namespace {

constexpr size_t kFirstAnswers = 8;  // the others fold away
constexpr size_t kMostAnswers = 60;

// What a reader looks for first, by the names of the trainers' metrics; a chart is drawn when one
// of its metrics was logged.
struct KnownChart {
  const char* title;
  const char* note;
  std::vector<std::pair<const char*, const char*>> metrics;  // name in the file, name in the legend
  bool from_zero;
  bool smooth = true;
};

const std::vector<KnownChart>& known_charts() {
  static const std::vector<KnownChart> charts = {
      {"Reward", "mean score of a step's answers", {{"objective/scores", ""}}, false},
      {"KL from the reference", "nats per answer, estimated", {{"objective/kl", ""}}, true},
      {"Entropy", "nats per token", {{"policy/entropy_avg", ""}}, false},
      {"Loss",
       "nats per trained token, per pair, or per text",
       {{"loss", "training"}, {"eval/loss", "held out"}},
       false},
      {"Token accuracy",
       "trained tokens that were the likeliest",
       {{"mean_token_accuracy", "training"}, {"eval/mean_token_accuracy", "held out"}},
       false},
      {"Accuracy",
       "pairs whose chosen answer has the higher score, or texts given their class",
       {{"accuracy", "training"},
        {"eval/accuracy", "held out, 95 %"},
        {"rewards/accuracies", "training"},
        {"eval/rewards/accuracies", "held out, 95 %"}},
       false},
      {"Macro F1", "mean over the classes", {{"eval/macro_f1", "held out"}}, true},
      {"Margin",
       "score of the chosen answer less that of the rejected one",
       {{"margin", "training"},
        {"eval/margin", "held out, 95 %"},
        {"rewards/margins", "training"},
        {"eval/rewards/margins", "held out, 95 %"}},
       true},
      {"Exact KL from the reference",
       "nats per answer, at the positions of held-out answers",
       {{"eval/exact_kl", "held out, 95 %"}},
       true},
      {"Rewards",
       "beta times the log-ratio of policy and reference",
       {{"rewards/chosen", "preferred or desirable"}, {"rewards/rejected", "the others"}},
       true},
      {"Log-probs of answers",
       "nats",
       {{"logps/chosen", "preferred or desirable"}, {"logps/rejected", "the others"}},
       false},
      {"Scores",
       "of a batch's answers",
       {{"min_reward", "lowest"}, {"mean_reward", "mean"}, {"max_reward", "highest"}},
       true},
      {"Policy loss", "", {{"loss/policy_avg", ""}}, false},
      {"Value loss", "", {{"loss/value_avg", ""}}, true},
      {"Clipped ratios",
       "part of tokens beyond cliprange",
       {{"policy/clipfrac_avg", "policy"}, {"val/clipfrac_avg", "value"}},
       true},
      {"Gradient norm",
       "before clipping",
       {{"policy/grad_norm", "policy"}, {"critic/grad_norm", "critic"}, {"grad_norm", ""}},
       true},
      {"Learning rate",
       "",
       {{"lr", "policy"}, {"critic/lr", "critic"}, {"learning_rate", ""}},
       true,
       /*smooth=*/false},
  };
  return charts;
}

using SeriesByName = std::map<std::string, ChartSeries>;

struct Curves {
  std::vector<std::string> names;  // in the order of the file
  SeriesByName series;
};

Curves curves_of(const std::vector<MetricsRow>& rows) {
  Curves curves;
  for (const MetricsRow& row : rows) {
    for (const auto& [name, value] : row.metrics) {
      ChartSeries& series = curves.series[name];
      if (series.x.empty()) curves.names.push_back(name);
      series.name = name;
      series.x.push_back(static_cast<double>(row.step));
      series.y.push_back(value);
    }
  }
  return curves;
}

// Metrics NAME_low and NAME_high, where they go with every NAME, are the band of its curve.
void attach_bands(Curves& curves) {
  std::set<std::string> used;
  for (auto& [name, series] : curves.series) {
    const auto low = curves.series.find(name + "_low"), high = curves.series.find(name + "_high");
    if (low == curves.series.end() || high == curves.series.end()) continue;
    if (low->second.x != series.x || high->second.x != series.x) continue;
    series.low = low->second.y;
    series.high = high->second.y;
    used.insert({low->first, high->first});
  }
  std::erase_if(curves.names, [&](const std::string& name) { return used.contains(name); });
}

std::string section(std::string_view heading, const std::string& charts, bool folded) {
  if (charts.empty()) return {};
  const std::string grid = fmt::format("<div class=\"charts\">\n{}</div>\n", charts);
  if (!folded) return fmt::format("<h2>{}</h2>\n{}", heading, grid);
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n", heading, grid);
}

// The known charts; their metrics are taken out of `curves.names`.
std::string draw_known(Curves& curves) {
  std::string html;
  for (const KnownChart& known : known_charts()) {
    LineChart chart{.title = known.title,
                    .x_label = "step",
                    .note = known.note,
                    .from_zero = known.from_zero,
                    .smooth = known.smooth};
    for (const auto& [name, legend] : known.metrics) {
      const auto listed = std::find(curves.names.begin(), curves.names.end(), name);
      if (listed == curves.names.end()) continue;
      chart.series.push_back(curves.series.at(name));
      chart.series.back().name = legend;
      curves.names.erase(listed);
    }
    if (!chart.series.empty()) html += svg_line_chart(chart);
  }
  return html;
}

bool is_constant(const ChartSeries& series) {
  return std::ranges::adjacent_find(series.y, std::not_equal_to{}) == series.y.end();
}

// Charts of all remaining metrics whose names begin with `prefix`; with `varying` not of those that
// never change.
std::string draw_prefix(Curves& curves, std::string_view prefix, bool varying = false) {
  std::string html;
  std::vector<std::string> rest;
  for (const std::string& name : curves.names) {
    const ChartSeries& series = curves.series.at(name);
    if (!name.starts_with(prefix) || (varying && is_constant(series))) {
      rest.push_back(name);
      continue;
    }
    html += svg_line_chart({.title = name, .x_label = "step", .series = {series}, .smooth = true});
  }
  curves.names = std::move(rest);
  return html;
}

std::string draw_curves(const std::vector<MetricsRow>& rows) {
  Curves curves = curves_of(rows);
  attach_bands(curves);
  const std::string known = draw_known(curves);
  const std::string held_out = draw_prefix(curves, "eval/", /*varying=*/true);
  const std::string clocks = draw_prefix(curves, "perf/");
  return section("Held-out data", held_out, false) + section("Training", known, false) +
         section("All other metrics", draw_prefix(curves, ""), true) +
         section("Clocks and memory", clocks, true);
}

// Cards from the curves, for a run whose trainer gave no figures.
std::vector<ReportFigure> figures_of(const std::vector<MetricsRow>& rows,
                                     std::optional<int64_t> exported) {
  std::vector<ReportFigure> figures;
  if (rows.empty()) return figures;
  figures.push_back({"steps", fmt::format("{}", rows.back().step), ""});
  const Curves curves = curves_of(rows);
  const std::pair<const char*, const char*> headlines[] = {
      {"eval/sampled/reward", "held-out reward, sampled answers"},
      {"eval/greedy/reward", "held-out reward, greedy answers"},
      {"eval/sampled/kl", "held-out KL from the reference, nats per answer"},
      {"objective/scores", "reward while training, first to last step"},
      {"eval/accuracy", "held-out accuracy"},
      {"eval/rewards/accuracies", "held-out accuracy"},
      {"eval/exact_kl", "held-out exact KL from the reference, nats per answer"},
      {"eval/macro_f1", "held-out macro F1"},
      {"eval/loss", "held-out loss"},
      {"loss", "loss, first to last step"}};
  for (const auto& [name, label] : headlines) {
    const auto found = curves.series.find(name);
    if (found == curves.series.end()) continue;
    const ChartSeries& series = found->second;
    size_t shown = series.x.size() - 1;
    for (size_t i = 0; i < series.x.size(); ++i) {
      const bool of_export = exported && series.x[i] == static_cast<double>(*exported);
      if (of_export && std::string_view(name).starts_with("eval/")) shown = i;
    }
    const auto step = static_cast<int64_t>(series.x[shown]);
    if (series.y.size() == 1) {
      figures.push_back(
          {label, fmt::format("{:.4g}", series.y[0]), fmt::format("at step {} only", step)});
    } else {
      figures.push_back({label, fmt::format("{:.4g} → {:.4g}", series.y.front(), series.y[shown]),
                         step == exported ? fmt::format("step {}, whose adapter was exported", step)
                         : step == rows.back().step ? ""
                                                    : fmt::format("up to step {}", step)});
    }
  }
  return figures;
}

std::string draw_figures(const std::vector<ReportFigure>& figures) {
  std::string html;
  for (const ReportFigure& figure : figures) {
    fmt::format_to(std::back_inserter(html),
                   "<div class=\"card\"><b>{}</b><span>{}</span><span>{}</span></div>\n",
                   html_escape(figure.value), html_escape(figure.label), html_escape(figure.note));
  }
  return html.empty() ? html : fmt::format("<div class=\"cards\">\n{}</div>\n", html);
}

std::string draw_answer(const SampleRecord& sample) {
  std::string facts = fmt::format("step {}", sample.step);
  if (sample.score) facts += fmt::format(" · reward {:.3g}", *sample.score);
  if (sample.kl) facts += fmt::format(" · KL {:.3g}", *sample.kl);
  if (!sample.stop.empty()) facts += " · " + html_escape(sample.stop);
  return fmt::format("<td><div class=\"text\">{}</div><div class=\"facts\">{}</div></td>",
                     html_escape(sample.answer), facts);
}

std::string answers_table(const std::string& rows) {
  return "<div class=\"wide\"><table class=\"answers\"><thead><tr><th>prompt</th><th>before</th>"
         "<th>after</th></tr></thead>\n<tbody>\n" +
         rows + "</tbody></table></div>\n";
}

std::string draw_answers(const std::vector<SampleRecord>& samples,
                         std::optional<int64_t> exported) {
  struct Pair {
    const SampleRecord* before = nullptr;
    const SampleRecord* after = nullptr;
  };
  std::map<std::pair<int64_t, std::string>, Pair> pairs;
  for (const SampleRecord& sample : samples) {
    if (!sample.split.empty()) continue;  // asked once, of the training prompts
    Pair& pair = pairs[{sample.index, sample.decoding}];
    if (pair.before == nullptr || sample.step < pair.before->step) pair.before = &sample;
    const bool chosen = pair.after != nullptr && pair.after->step == exported;
    if (pair.after == nullptr || sample.step == exported ||
        (!chosen && sample.step > pair.after->step)) {
      pair.after = &sample;
    }
  }
  std::string first, rest;
  size_t shown = 0;
  for (const auto& [key, pair] : pairs) {
    if (pair.before->step == pair.after->step) continue;
    if (++shown > kMostAnswers) break;
    fmt::format_to(std::back_inserter(shown <= kFirstAnswers ? first : rest),
                   "<tr><td><div class=\"text\">{}</div><div class=\"facts\">{}</div></td>{}{}"
                   "</tr>\n",
                   html_escape(pair.before->prompt), html_escape(key.second),
                   draw_answer(*pair.before), draw_answer(*pair.after));
  }
  if (first.empty()) return first;
  std::string html = "<h2>Answers before and after</h2>\n" + answers_table(first);
  if (!rest.empty()) {
    html += "<details><summary>Further answers</summary>\n" + answers_table(rest) + "</details>\n";
  }
  return html;
}

constexpr std::string_view kReportCss = R"css(
.answers { table-layout: fixed; min-width: 640px; }
.answers th:first-child { width: 26%; }
.answers td:first-child { color: var(--muted); }
.facts { margin-top: 6px; font-size: 12px; color: var(--muted); }
.wide { overflow-x: auto; }
details { margin-top: 28px; }
details > summary { margin-bottom: 12px; font-size: 15px; }
)css";

std::string read_if_there(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::stringstream text;
  if (stream) text << stream.rdbuf();
  return text.str();
}

// What the newest evaluation of pairs says, for a run that trained a reward model.
std::vector<LineChart> pair_charts(const std::filesystem::path& run_dir,
                                   const std::vector<MetricsRow>& rows) {
  int64_t newest = -1;
  for (const MetricsRow& row : rows) {
    for (const auto& [name, value] : row.metrics) {
      if (name == "eval/calibration_error") newest = row.step;
    }
  }
  const auto file = run_dir / "evaluations" / fmt::format("step-{}.json", newest);
  if (newest < 0 || !std::filesystem::exists(file)) return {};
  return {calibration_chart(read_reward_evaluation(file), newest)};
}

}  // namespace

std::string run_report_html(const RunReport& report) {
  const bool given = !report.figures.empty();
  std::string body =
      draw_figures(given ? report.figures : figures_of(report.metrics, report.exported_step));
  if (report.metrics.empty()) body += "<p class=\"muted\">No step was finished yet.</p>\n";
  std::string found;
  for (const LineChart& chart : report.charts) found += svg_line_chart(chart);
  body += section("Found on held-out data", found, false) + draw_curves(report.metrics) +
          draw_answers(report.samples, report.exported_step);
  if (!report.resolved_yaml.empty()) {
    body += fmt::format(
        "<details><summary>Configuration (resolved.yaml)</summary>\n<pre>{}</pre>"
        "</details>\n",
        html_escape(report.resolved_yaml));
  }
  return html_page(report.title, body, kReportCss);
}

std::filesystem::path write_run_report(const std::filesystem::path& run_dir,
                                       std::optional<int64_t> exported_step) {
  const std::filesystem::path whole = std::filesystem::weakly_canonical(run_dir);
  RunReport report{.title = "leash: " + whole.filename().string(),
                   .metrics = read_metrics(run_dir / "metrics.jsonl"),
                   .samples = read_samples(run_dir / "samples.jsonl"),
                   .resolved_yaml = read_if_there(run_dir / "resolved.yaml")};
  report.charts = pair_charts(run_dir, report.metrics);
  report.exported_step = exported_step;
  const std::filesystem::path file = run_dir / "report.html";
  replace_file(file, run_report_html(report));
  return file;
}

}  // namespace leash
