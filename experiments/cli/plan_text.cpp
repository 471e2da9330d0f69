#include "experiments/cli/plan_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/grouped_digits.h"

namespace leash::cli {
namespace {

using Json = nlohmann::ordered_json;

// Decimal megabytes, as perf/peak_memory_mb.
std::string megabytes(double bytes) {
  const int64_t tenths = static_cast<int64_t>(bytes / 1e5 + 0.5);
  return fmt::format("{}.{}", grouped_digits(tenths / 10), tenths % 10);
}
std::string megabytes(int64_t bytes) { return megabytes(static_cast<double>(bytes)); }

std::string line(const std::string& name, const std::string& amount, const std::string& note) {
  std::string text = fmt::format("  {:<54}{:>14}", name, amount);
  if (!note.empty()) text += "  " + note;
  return text + "\n";
}

std::string memory_text(const Plan& plan) {
  std::string text = "\nmemory of each rank, MB\n";
  for (const PlanItem& item : plan.resident) {
    text += line(item.name, megabytes(item.bytes), item.note);
  }
  text += line("held throughout", megabytes(plan.resident_bytes()), "");
  for (const PlanPhase& phase : plan.phases) {
    text += fmt::format("\nphase: {}\n", phase.name);
    for (const PlanItem& item : phase.items) {
      text += line(item.name, megabytes(item.bytes), item.note);
    }
    text +=
        line("with what is held throughout", megabytes(plan.resident_bytes() + phase.bytes()), "");
  }
  text += "\n" + line("peak", megabytes(plan.peak_bytes()), "phase: " + plan.largest().name);
  if (plan.mapped_bytes > 0) {
    text +=
        line("peak as Linux counts it (VmHWM)", megabytes(plan.peak_bytes() + plan.mapped_bytes),
             "with the model's files, mapped; it takes them back when it must");
  }
  return text;
}

std::string transfers_text(const Plan& plan) {
  if (plan.ranks == 1) return "\none rank: nothing is sent\n";
  std::string text = fmt::format("\nsent by each rank in one {}, MB\n", plan.step);
  for (const PlanTransfer& transfer : plan.transfers) {
    text += line(transfer.name, megabytes(transfer.sent_bytes),
                 fmt::format("{} x {} B, {}", transfer.calls,
                             grouped_digits(transfer.message_bytes), transfer.note));
  }
  return text + line("together", megabytes(plan.sent_bytes()), "");
}

std::string fit_text(const Fit& fit) {
  std::string text = fmt::format("\nwithin {} MB: this plan {}\n", megabytes(fit.memory_bytes),
                                 fit.fits ? "fits" : "does not fit");
  text += fmt::format(
      "  largest known model with this recipe: {}\n",
      fit.known ? fmt::format("{} ({} MB)", *fit.known, megabytes(fit.known_peak_bytes)) : "none");
  if (fit.layers) {
    text += fmt::format("  most layers of this model's widths: {} ({} parameters)\n", *fit.layers,
                        grouped_digits(fit.layers_parameters));
  }
  return text;
}

Json items_json(const std::vector<PlanItem>& items) {
  Json list = Json::array();
  for (const PlanItem& item : items) {
    list.push_back({{"name", item.name}, {"bytes", item.bytes}, {"note", item.note}});
  }
  return list;
}

Json fit_json(const Fit& fit) {
  Json json = {{"memory_bytes", fit.memory_bytes}, {"fits", fit.fits}};
  json["known_model"] = fit.known ? Json(*fit.known) : Json(nullptr);
  json["known_model_peak_bytes"] = fit.known ? Json(fit.known_peak_bytes) : Json(nullptr);
  json["layers"] = fit.layers ? Json(*fit.layers) : Json(nullptr);
  json["layers_parameters"] = fit.layers ? Json(fit.layers_parameters) : Json(nullptr);
  return json;
}

}  // namespace

std::string plan_text(const Plan& plan, const ModelFacts& model, const std::optional<Fit>& fit) {
  const double percent = 100.0 * static_cast<double>(plan.trainable_parameters) /
                         static_cast<double>(std::max<int64_t>(plan.all_parameters, 1));
  std::string text =
      fmt::format("{}: {} ({}, {} layers), {} {}\n", plan.task, model.name, model.config.family,
                  model.config.num_layers, plan.ranks, plan.ranks == 1 ? "rank" : "ranks");
  text += fmt::format("trainable params: {} || all params: {} || trainable%: {:.4f}\n",
                      grouped_digits(plan.trainable_parameters),
                      grouped_digits(plan.all_parameters), percent);
  text += memory_text(plan) + transfers_text(plan);
  if (fit) text += fit_text(*fit);
  return text;
}

Json plan_json(const Plan& plan, const ModelFacts& model, const std::optional<Fit>& fit) {
  Json json = {{"task", plan.task},
               {"model", model.name},
               {"ranks", plan.ranks},
               {"base_parameters", plan.base_parameters},
               {"all_parameters", plan.all_parameters},
               {"trainable_parameters", plan.trainable_parameters},
               {"micro_batch_rows", plan.micro_batch_rows},
               {"resident", items_json(plan.resident)},
               {"resident_bytes", plan.resident_bytes()}};
  json["phases"] = Json::array();
  for (const PlanPhase& phase : plan.phases) {
    json["phases"].push_back(
        {{"name", phase.name}, {"items", items_json(phase.items)}, {"bytes", phase.bytes()}});
  }
  json["peak_phase"] = plan.largest().name;
  json["peak_bytes"] = plan.peak_bytes();
  json["mapped_bytes"] = plan.mapped_bytes;
  json["transfers"] = Json::array();
  for (const PlanTransfer& transfer : plan.transfers) {
    json["transfers"].push_back({{"name", transfer.name},
                                 {"calls", transfer.calls},
                                 {"message_bytes", transfer.message_bytes},
                                 {"sent_bytes", transfer.sent_bytes}});
  }
  json["sent_bytes"] = plan.sent_bytes();
  json["fit"] = fit ? fit_json(*fit) : Json(nullptr);
  return json;
}

}  // namespace leash::cli
