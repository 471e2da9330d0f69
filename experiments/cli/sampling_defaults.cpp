#include "experiments/cli/sampling_defaults.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "models/io/json_file.h"
#include "models/json_fields.h"
#include "models/limits.h"

namespace leash::cli {
namespace {

void require_usable(const SamplingConfig& c, const JsonFields& fields) {
  const auto require = [&](bool fine, const char* name) {
    if (!fine) fields.fail(fmt::format("'{}' is out of range", name));
  };
  require(c.temperature >= 0 && std::isfinite(c.temperature), "temperature");
  require(c.top_k >= 0 && c.top_k <= kMostOfAnything, "top_k");
  require(c.top_p > 0 && c.top_p <= 1, "top_p");
  require(c.min_p >= 0 && c.min_p <= 1, "min_p");
  require(c.repetition_penalty > 0 && std::isfinite(c.repetition_penalty), "repetition_penalty");
}

}  // namespace

SamplingConfig sampling_defaults(const Checkpoint& checkpoint, const SamplingConfig& otherwise) {
  const auto file = checkpoint.path / "generation_config.json";
  if (!std::filesystem::is_directory(checkpoint.path) || !std::filesystem::exists(file)) {
    return otherwise;
  }
  const nlohmann::json json = read_json_file(file);
  const JsonFields fields(json, file.string());
  if (!fields.boolean("do_sample").value_or(true)) return otherwise;
  const auto temperature = fields.number("temperature"), top_p = fields.number("top_p"),
             min_p = fields.number("min_p"), penalty = fields.number("repetition_penalty");
  const auto top_k = fields.integer("top_k");
  if (!temperature && !top_p && !min_p && !penalty && !top_k) return otherwise;
  const SamplingConfig config{.temperature = temperature.value_or(1.0),
                              .top_k = top_k.value_or(0),
                              .top_p = top_p.value_or(1.0),
                              .min_p = min_p.value_or(0.0),
                              .repetition_penalty = penalty.value_or(1.0)};
  require_usable(config, fields);
  return config;
}

std::string sampling_text(const SamplingConfig& config) {
  std::string text =
      config.greedy() ? std::string("greedy") : fmt::format("temperature {}", config.temperature);
  const auto add = [&](bool on, const char* name, auto value) {
    if (on) text += fmt::format(", {} {}", name, value);
  };
  add(!config.greedy() && config.top_k > 0, "top-k", config.top_k);
  add(!config.greedy() && config.top_p < 1, "top-p", config.top_p);
  add(!config.greedy() && config.min_p > 0, "min-p", config.min_p);
  add(config.repetition_penalty != 1.0, "repetition penalty", config.repetition_penalty);
  return text;
}

}  // namespace leash::cli
