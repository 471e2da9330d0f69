#include "rl/report/sweep_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "models/io/atomic_file.h"
#include "rl/policy/evaluation.h"
#include "rl/report/html.h"
#include "rl/report/svg_chart.h"
#include "rl/report/sweep_choice.h"
#include "rl/run/run_log.h"
#include "rl/run/sweep_record.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostCurves = 6;  // colours of a chart
constexpr size_t kSidePrompts = 8;
constexpr size_t kSideRuns = 4;
const double kNothing = std::numeric_limits<double>::quiet_NaN();

struct SweepFigure {
  const char* metric;
  const char* title;
  bool lower_is_better;
};
// What a run is judged by: the first of these that is logged.
constexpr SweepFigure kResults[] = {{"eval/sampled/reward", "held-out reward", false},
                                    {"eval/accuracy", "held-out accuracy", false},
                                    {"eval/loss", "held-out loss", true},
                                    {"objective/scores", "reward while training", false},
                                    {"loss", "training loss", true}};
constexpr SweepFigure kCurves[] = {{"eval/sampled/reward", "Held-out reward", false},
                                   {"eval/sampled/kl", "Held-out exact KL", true},
                                   {"objective/scores", "Reward while training", false},
                                   {"objective/kl", "KL while training", true},
                                   {"eval/accuracy", "Held-out accuracy", false},
                                   {"eval/loss", "Held-out loss", true},
                                   {"loss", "Loss", true}};

struct RunOfSweep {
  SweepEntry entry;
  std::map<std::string, std::map<int64_t, double>> metrics;  // by name, by step
  std::vector<SampleRecord> samples;
};

// The runs of one setting: its seeds.
struct SettingRuns {
  std::string name;
  std::vector<const RunOfSweep*> runs;
};

struct SweepData {
  SweepRecord record;
  std::vector<RunOfSweep> runs;
  std::vector<SettingRuns> settings;
  std::vector<SweepCandidate> candidates;
  const SweepFigure* result = nullptr;
};

std::string setting_name(const SweepEntry& entry) {
  std::string name;
  for (const auto& [path, value] : entry.settings) {
    name +=
        fmt::format("{}{} {}", name.empty() ? "" : ", ", path.substr(path.rfind('.') + 1), value);
  }
  return name.empty() ? "the recipe" : name;
}

void read_candidates(const fs::path& folder, size_t run, std::vector<SweepCandidate>& into) {
  std::set<int64_t> steps;
  std::error_code none;
  for (const auto& file : fs::directory_iterator(folder / "evaluations", none)) {
    const std::string name = file.path().filename().string();
    int64_t step = 0;
    if (!name.starts_with("step-") || !name.ends_with(".json")) continue;
    const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size() - 5, step);
    if (error == std::errc() && *end == '.') steps.insert(step);
  }
  for (const int64_t step : steps) {
    for (const Evaluation& evaluation : read_evaluation(folder, step)) {
      if (evaluation.decoding != "sampled") continue;
      std::map<int64_t, std::pair<std::vector<double>, std::vector<double>>> of_prompt;
      for (const EvaluatedAnswer& answer : evaluation.answers) {
        of_prompt[answer.prompt].first.push_back(answer.reward);
        of_prompt[answer.prompt].second.push_back(answer.kl);
      }
      SweepCandidate& candidate = into.emplace_back();
      candidate.run = run;
      candidate.step = step;
      for (const auto& [prompt, values] : of_prompt) {
        candidate.rewards.push_back(mean_interval(values.first).mean);
        candidate.kls.push_back(mean_interval(values.second).mean);
      }
    }
  }
}

// Tasks of examples write other files under that name.
bool samples_answers(const RunOfSweep& run) { return run.metrics.contains("eval/sampled/reward"); }

SweepData read_sweep_data(const fs::path& folder) {
  SweepData data{.record = read_sweep_record(folder)};
  for (const SweepEntry& entry : data.record.runs) {
    RunOfSweep& run = data.runs.emplace_back();
    run.entry = entry;
    for (const MetricsRow& row : read_metrics(folder / entry.name / "metrics.jsonl")) {
      for (const auto& [name, value] : row.metrics) run.metrics[name][row.step] = value;
    }
    run.samples = read_samples(folder / entry.name / "samples.jsonl");
    if (samples_answers(run)) {
      read_candidates(folder / entry.name, data.runs.size() - 1, data.candidates);
    }
  }
  for (const RunOfSweep& run : data.runs) {
    const std::string name = setting_name(run.entry);
    auto known = std::ranges::find(data.settings, name, &SettingRuns::name);
    if (known == data.settings.end()) {
      data.settings.push_back({.name = name, .runs = {}});
      known = data.settings.end() - 1;
    }
    known->runs.push_back(&run);
  }
  for (const SweepFigure& figure : kResults) {
    const bool logged = std::ranges::any_of(
        data.runs, [&](const RunOfSweep& run) { return run.metrics.contains(figure.metric); });
    if (logged && data.result == nullptr) data.result = &figure;
  }
  return data;
}

// The last value that a run logged of what it is judged by.
std::optional<double> last_value(const RunOfSweep& run, const char* metric) {
  const auto found = run.metrics.find(metric);
  if (found == run.metrics.end()) return std::nullopt;
  return found->second.rbegin()->second;
}

MeanInterval result_of(const std::vector<const RunOfSweep*>& runs, const char* metric) {
  std::vector<double> values;
  for (const RunOfSweep* run : runs) {
    if (const auto value = last_value(*run, metric); value && std::isfinite(*value)) {
      values.push_back(*value);
    }
  }
  return mean_interval(values);
}

// Best first; settings without a result last.
std::vector<const SettingRuns*> ranked_settings(const SweepData& data) {
  std::vector<const SettingRuns*> ranked;
  for (const SettingRuns& setting : data.settings) ranked.push_back(&setting);
  if (data.result == nullptr) return ranked;
  std::ranges::stable_sort(ranked, std::ranges::greater{}, [&](const SettingRuns* setting) {
    const MeanInterval result = result_of(setting->runs, data.result->metric);
    if (result.n == 0) return -std::numeric_limits<double>::infinity();
    return data.result->lower_is_better ? -result.mean : result.mean;
  });
  return ranked;
}

// The mean over the seeds that logged a step, with the 95 % interval of that mean.
ChartSeries band_over_seeds(const SettingRuns& setting, const char* metric) {
  ChartSeries series{.name = setting.name};
  std::map<int64_t, std::vector<double>> at_step;
  for (const RunOfSweep* run : setting.runs) {
    const auto found = run->metrics.find(metric);
    if (found == run->metrics.end()) continue;
    for (const auto& [step, value] : found->second) {
      if (std::isfinite(value)) at_step[step].push_back(value);
    }
  }
  for (const auto& [step, values] : at_step) {
    const MeanInterval mean = mean_interval(values);
    series.x.push_back(static_cast<double>(step));
    series.y.push_back(mean.mean);
    series.low.push_back(mean.ci95 ? mean.ci95->low : kNothing);
    series.high.push_back(mean.ci95 ? mean.ci95->high : kNothing);
  }
  return series;
}

std::string draw_sweep_curves(const SweepData& data) {
  const std::vector<const SettingRuns*> ranked = ranked_settings(data);
  std::string charts;
  for (const SweepFigure& figure : kCurves) {
    LineChart chart{.title = figure.title,
                    .x_label = "step",
                    .note = "mean over seeds, 95 % of that mean",
                    .height = 280};
    for (size_t i = 0; i < std::min(kMostCurves, ranked.size()); ++i) {
      ChartSeries series = band_over_seeds(*ranked[i], figure.metric);
      // The legend has room for numbers; the table beside them says which setting is which.
      if (ranked.size() > 1) series.name = fmt::format("{}", i + 1);
      if (!series.x.empty()) chart.series.push_back(std::move(series));
    }
    if (!chart.series.empty()) charts += svg_line_chart(chart);
  }
  if (charts.empty()) return charts;
  const std::string note = ranked.size() > kMostCurves
                               ? fmt::format("<p class=muted>The best {} of {} settings.</p>\n",
                                             kMostCurves, ranked.size())
                               : "";
  return "<h2>Curves</h2>\n" + note + "<div class=charts>\n" + charts + "</div>\n";
}

FrontierPoint point_of(const SweepCandidate& candidate) {
  return {.kl = mean_interval(candidate.kls).mean, .reward = mean_interval(candidate.rewards).mean};
}

double root(double kl) { return std::sqrt(std::max(0.0, kl)); }

std::string draw_frontier(const SweepData& data) {
  if (data.candidates.empty()) return {};
  std::vector<FrontierPoint> points;
  ChartSeries all{.name = "a snapshot each"}, best{.name = "frontier"};
  for (const SweepCandidate& candidate : data.candidates) {
    points.push_back(point_of(candidate));
    for (const auto& [x, y] : {std::pair{root(points.back().kl), points.back().reward},
                               std::pair{kNothing, kNothing}}) {  // a gap: dots, no line
      all.x.push_back(x);
      all.y.push_back(y);
    }
  }
  std::string rows;
  for (const size_t i : reward_frontier(points)) {
    best.x.push_back(root(points[i].kl));
    best.y.push_back(points[i].reward);
    rows += fmt::format(
        "<tr><td>{}</td><td class=num>{}</td><td class=num>{:.3f}</td><td class=num>{:.3f}</td>"
        "</tr>\n",
        html_escape(data.record.runs[data.candidates[i].run].name), data.candidates[i].step,
        points[i].kl, points[i].reward);
  }
  const LineChart chart{.title = "Reward against exact KL",
                        .x_label = "√KL, nats per answer",
                        .note = "held-out prompts; up and to the left is better",
                        .series = {all, best},
                        .width = 620,
                        .height = 340};
  return "<h2>What reward costs</h2>\n<p class=muted>Each point is an evaluated snapshot of a run. "
         "Reward that only rises where KL rises fast is often a reward that is being tricked: read "
         "the answers there.</p>\n<div class=charts>\n" +
         svg_line_chart(chart) +
         "</div>\n<details><summary>the frontier in numbers</summary><div class=wide><table><tr>"
         "<th>run</th><th class=num>step</th><th class=num>KL</th><th class=num>reward</th></tr>" +
         rows + "</table></div></details>\n";
}

std::string draw_settings(const SweepData& data) {
  if (data.result == nullptr) return {};
  std::vector<std::string> paths;
  for (const auto& [path, value] : data.runs.front().entry.settings) paths.push_back(path);
  std::string tables;
  for (const std::string& path : paths) {
    std::vector<std::pair<std::string, std::vector<const RunOfSweep*>>> values;
    for (const RunOfSweep& run : data.runs) {
      for (const auto& [own, value] : run.entry.settings) {
        if (own != path) continue;
        auto known = std::ranges::find(values, value, [](const auto& each) { return each.first; });
        if (known == values.end()) {
          values.emplace_back(value, std::vector<const RunOfSweep*>());
          known = values.end() - 1;
        }
        known->second.push_back(&run);
      }
    }
    std::string rows;
    for (const auto& [value, runs] : values) {
      const MeanInterval result = result_of(runs, data.result->metric);
      rows += fmt::format("<tr><td>{}</td><td class=num>{}</td><td class=num>{}</td></tr>\n",
                          html_escape(value), runs.size(),
                          result.n > 0 ? interval_text(result) : "none");
    }
    tables += fmt::format(
        "<table><tr><th>{}</th><th class=num>runs</th><th class=num>{} [95&thinsp;%]</th></tr>\n{}"
        "</table>\n",
        html_escape(path), data.result->title, rows);
  }
  if (tables.empty()) return {};
  return "<h2>Settings against the result</h2>\n<p class=muted>Means over all runs with that "
         "value, whatever their other settings and seeds.</p>\n<div class=charts>\n" +
         tables + "</div>\n";
}

std::string draw_runs(const SweepData& data) {
  const std::vector<const SettingRuns*> ranked = ranked_settings(data);
  std::string rows;
  for (size_t i = 0; i < ranked.size(); ++i) {
    for (const RunOfSweep* run : ranked[i]->runs) {
      const SweepEntry& entry = run->entry;
      const auto figure = [&](const char* metric) {
        const auto value = last_value(*run, metric);
        return value ? fmt::format("{:.4g}", *value) : std::string();
      };
      rows += fmt::format(
          "<tr><td class=num>{}</td><td><a href=\"{}/report.html\">{}</a></td><td>{}</td><td>{}{}"
          "</td><td class=num>{}</td><td class=num>{}</td><td class=num>{}</td></tr>\n",
          i + 1, html_escape(entry.name), html_escape(entry.name), html_escape(ranked[i]->name),
          enum_name(entry.status), entry.why.empty() ? "" : ": " + html_escape(entry.why),
          entry.step, data.result != nullptr ? figure(data.result->metric) : "",
          figure("eval/sampled/kl"));
    }
  }
  return fmt::format(
      "<h2>Runs</h2>\n<div class=wide><table><tr><th class=num></th><th>run</th><th>setting</th>"
      "<th>state</th><th class=num>step</th><th class=num>{}</th><th class=num>exact KL</th></tr>\n"
      "{}</table></div>\n",
      data.result != nullptr ? data.result->title : "result", rows);
}

std::string sweep_card(const std::string& value, const std::string& label,
                       const std::string& note) {
  return fmt::format("<div class=card><b>{}</b><span>{}</span><span>{}</span></div>\n",
                     html_escape(value), html_escape(label), html_escape(note));
}

std::string draw_cards(const SweepData& data, const std::optional<SweepChoice>& choice) {
  const auto count = [&](SweepStatus status) {
    return std::ranges::count(data.record.runs, status, &SweepEntry::status);
  };
  std::string cards =
      sweep_card(fmt::format("{} of {}", count(SweepStatus::done), data.runs.size()), "runs done",
                 fmt::format("{} stopped, {} failed", count(SweepStatus::stopped),
                             count(SweepStatus::failed)));
  if (choice) {
    const SweepCandidate& best = data.candidates[choice->candidate];
    cards += sweep_card(interval_text(choice->reward), "held-out reward of the best snapshot, 95 %",
                        fmt::format("{}, step {}; on the half of the prompts that did not choose "
                                    "it",
                                    data.record.runs[best.run].name, best.step));
    cards += sweep_card(fmt::format("{:+.3f}", choice->by_choosing), "is what choosing adds",
                        fmt::format("best of {}: it shows {:.3f} on the half that chose it",
                                    choice->candidates, choice->flattered));
    cards += sweep_card(interval_text(choice->kl), "its exact KL, nats per answer",
                        data.record.max_kl ? fmt::format("bound {:g}", *data.record.max_kl)
                                           : "no bound (best_max_kl)");
  }
  return "<div class=cards>\n" + cards + "</div>\n";
}

// The last greedy answer of a run to each prompt.
std::map<int64_t, const SampleRecord*> last_answers(const RunOfSweep& run, bool first) {
  std::map<int64_t, const SampleRecord*> answers;
  for (const SampleRecord& sample : run.samples) {
    if (sample.decoding != "greedy") continue;
    const SampleRecord*& known = answers[sample.index];
    const bool takes =
        known == nullptr || (first ? sample.step < known->step : sample.step >= known->step);
    if (takes) known = &sample;
  }
  return answers;
}

std::string answer_cell(const std::map<int64_t, const SampleRecord*>& answers, int64_t prompt) {
  const auto found = answers.find(prompt);
  if (found == answers.end()) return "<td></td>";
  const SampleRecord& sample = *found->second;
  return fmt::format("<td><div class=text>{}</div><div class=muted>{}{}</div></td>",
                     html_escape(sample.answer),
                     sample.score ? fmt::format("reward {:.3g}", *sample.score) : "",
                     sample.kl ? fmt::format(" · KL {:.3g}", *sample.kl) : "");
}

std::string draw_side_by_side(const SweepData& data) {
  std::vector<const RunOfSweep*> shown;
  for (const SettingRuns* setting : ranked_settings(data)) {
    if (shown.size() < kSideRuns && !setting->runs.front()->samples.empty()) {
      shown.push_back(setting->runs.front());
    }
  }
  if (shown.empty()) return {};
  std::string head = "<tr><th>prompt</th><th>before</th>";
  std::vector<std::map<int64_t, const SampleRecord*>> columns = {
      last_answers(*shown.front(), true)};
  for (const RunOfSweep* run : shown) {
    head += "<th>" + html_escape(run->entry.name) + "</th>";
    columns.push_back(last_answers(*run, false));
  }
  std::string rows;
  size_t count = 0;
  for (const auto& [prompt, sample] : columns.front()) {
    if (++count > kSidePrompts) break;
    rows += "<tr><td><div class=text>" + html_escape(sample->prompt) + "</div></td>";
    for (const auto& column : columns) rows += answer_cell(column, prompt);
    rows += "</tr>\n";
  }
  if (rows.empty()) return {};
  return "<h2>Answers side by side</h2>\n<p class=muted>Greedy answers to held-out prompts, before "
         "training and at the last evaluation of the best settings.</p>\n<div class=wide><table>" +
         head + "</tr>\n" + rows + "</table></div>\n";
}

constexpr std::string_view kSweepCss = R"css(
.wide { overflow-x: auto; }
.wide td { min-width: 90px; vertical-align: top; }
td, th { padding: 6px 10px; }
a { color: var(--accent); }
)css";

}  // namespace

std::string sweep_report_html(const fs::path& folder) {
  const SweepData data = read_sweep_data(folder);
  const auto choice = choose_best(data.candidates, data.record.max_kl);
  const std::string body = fmt::format("<p class=muted>{} · task {} · one base, {} runs</p>\n",
                                       html_escape(data.record.recipe),
                                       html_escape(data.record.task), data.runs.size()) +
                           draw_cards(data, choice) + draw_runs(data) + draw_settings(data) +
                           draw_frontier(data) + draw_sweep_curves(data) + draw_side_by_side(data);
  return html_page("Sweep", body, kSweepCss);
}

fs::path write_sweep_report(const fs::path& folder) {
  fs::path file = folder / "report.html";
  write_text_file(file, sweep_report_html(folder));
  return file;
}

}  // namespace leash
