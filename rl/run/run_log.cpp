// metrics.jsonl, samples.jsonl, TensorBoard events and the console, fed by one call a step.
#include "rl/run/run_log.h"

#include <fmt/core.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "rl/run/json_line.h"

namespace leash {
namespace {

using nlohmann::ordered_json;

// The shortest digits that read back as the same double. A "-0" would be read as a whole number,
// which has no sign of zero.
std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  return value == 0 && std::signbit(value) ? "-0.0" : fmt::format("{}", value);
}

void for_each_line(const std::filesystem::path& file,
                   const std::function<void(const ordered_json&)>& take) {
  std::ifstream stream(file, std::ios::binary);
  int64_t number = 0;
  for (std::string line; std::getline(stream, line) && !stream.eof();) {
    const auto where = fmt::format("{}:{}", file.string(), ++number);
    const ordered_json json = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) {
      throw FormatError(where + ": not a JSON object with a whole \"step\"");
    }
    try {
      take(json);
    } catch (const ordered_json::exception& error) {
      throw FormatError(fmt::format("{}: {}", where, error.what()));
    }
  }
}

std::optional<double> number_or_null(const ordered_json& json, const char* key) {
  if (!json.contains(key) || json[key].is_null()) return std::nullopt;
  return json[key].get<double>();
}

MetricsRow metrics_row(const ordered_json& json) {
  MetricsRow row{.step = json.at("step").get<int64_t>()};
  for (const auto& [name, value] : json.items()) {
    if (name == "step") continue;
    const double number =
        value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
    row.metrics.emplace_back(name, number);
  }
  return row;
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& folder, const RunLogOptions& options, Console& console)
    : options_(options), console_(console) {
  if (!options.writes) return;
  metrics_.emplace(folder / "metrics.jsonl");
  samples_.emplace(folder / "samples.jsonl");
  if (options.tensorboard) tensorboard_ = std::make_unique<TensorboardWriter>(folder);
}

void RunLog::step(int64_t step, const Metrics& metrics) {
  console_.phase("logging");
  if (metrics_) metrics_->append(metrics_line(step, metrics) + "\n");
  if (tensorboard_) tensorboard_->scalars(step, metrics);
  const int64_t done = step - options_.first_step, left = options_.total_steps - step;
  std::optional<double> seconds_left;
  if (done > 0 && left >= 0) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    seconds_left = spent.count() / static_cast<double>(done) * static_cast<double>(left);
  }
  const bool print_line = step % options_.logging_steps == 0 || left == 0;
  console_.progress(
      progress_text(step, options_.total_steps, metrics, options_.columns, seconds_left),
      print_line);
}

void RunLog::sample(const SampleRecord& sample) {
  if (samples_) samples_->append(sample_line(sample) + "\n");
}

void RunLog::sync() {
  if (metrics_) metrics_->sync();
  if (samples_) samples_->sync();
  if (tensorboard_) tensorboard_->sync();
}

std::string metrics_line(int64_t step, const Metrics& metrics) {
  std::string line = fmt::format("{{\"step\": {}", step);
  for (const auto& [name, value] : metrics) {
    fmt::format_to(std::back_inserter(line), ", {}: {}", json_line(name), number(value));
  }
  return line + "}";
}

std::string sample_line(const SampleRecord& sample) {
  const auto or_null = [](std::optional<double> value) {
    return value ? ordered_json(*value) : ordered_json();
  };
  if (!sample.split.empty()) {
    ordered_json scores = ordered_json::object();
    for (const auto& [label, score] : sample.scores) scores[label] = score;
    return json_line({{"step", sample.step},
                      {"split", sample.split},
                      {"index", sample.index},
                      {"prompt", sample.prompt},
                      {"answer", sample.answer},
                      {"score", or_null(sample.score)},
                      {"scores", scores},
                      {"kl", or_null(sample.kl)},
                      {"advantage", or_null(sample.advantage)},
                      {"stop", sample.stop}});
  }
  return json_line({{"step", sample.step},
                    {"index", sample.index},
                    {"decoding", sample.decoding},
                    {"prompt", sample.prompt},
                    {"answer", sample.answer},
                    {"score", or_null(sample.score)},
                    {"kl", or_null(sample.kl)},
                    {"stop", sample.stop}});
}

std::vector<MetricsRow> read_metrics(const std::filesystem::path& file) {
  std::vector<MetricsRow> rows;
  for_each_line(file, [&](const ordered_json& json) { rows.push_back(metrics_row(json)); });
  return rows;
}

std::optional<MetricsRow> read_metrics_line(std::string_view line) {
  const ordered_json json = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) {
    return std::nullopt;
  }
  try {
    return metrics_row(json);
  } catch (const ordered_json::exception&) {
    return std::nullopt;
  }
}

std::vector<SampleRecord> read_samples(const std::filesystem::path& file) {
  std::vector<SampleRecord> samples;
  for_each_line(file, [&](const ordered_json& json) {
    std::vector<std::pair<std::string, double>> scores;
    if (json.contains("scores")) {
      for (const auto& [label, score] : json["scores"].items()) {
        scores.emplace_back(label, score.get<double>());
      }
    }
    samples.push_back({.step = json["step"].get<int64_t>(),
                       .index = json.value("index", int64_t{0}),
                       .decoding = json.value("decoding", ""),
                       .split = json.value("split", ""),
                       .prompt = json.value("prompt", ""),
                       .answer = json.value("answer", ""),
                       .score = number_or_null(json, "score"),
                       .scores = std::move(scores),
                       .kl = number_or_null(json, "kl"),
                       .advantage = number_or_null(json, "advantage"),
                       .stop = json.value("stop", "")});
  });
  return samples;
}

}  // namespace leash
