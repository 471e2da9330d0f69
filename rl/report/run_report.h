// report.html: the curves of a run and its answers before and after, on one offline page.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "rl/report/svg_chart.h"
#include "rl/run/run_log.h"

namespace leash {

// A figure at the top of the page: {"held-out reward", "0.41 → 1.62", "95 % 1.40 … 1.84"}.
struct ReportFigure {
  std::string label{};
  std::string value{};
  std::string note{};
};

struct RunReport {
  std::string title{};
  std::vector<ReportFigure> figures{};
  std::vector<MetricsRow> metrics{};
  std::vector<SampleRecord> samples{};
  std::string resolved_yaml{};
  std::vector<LineChart> charts{};  // besides the curves: what was found on held-out data
  // Whose adapter the run exported: figures and answers of held-out data are those of this step
  // where it was evaluated; else those of the last one.
  std::optional<int64_t> exported_step{};
};

std::string run_report_html(const RunReport& report);

// Reads metrics.jsonl, samples.jsonl, resolved.yaml and the newest evaluation of pairs of a run's
// folder (what is missing is left out) and writes report.html there; returns its path.
std::filesystem::path write_run_report(const std::filesystem::path& run_dir,
                                       std::optional<int64_t> exported_step = {});

}  // namespace leash
