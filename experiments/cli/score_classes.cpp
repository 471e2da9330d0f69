#include "experiments/cli/score_classes.h"

#include <ATen/ops/softmax.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>

#include "experiments/cli/input.h"
#include "experiments/cli/output.h"
#include "models/errors.h"
#include "models/io/peft_adapter.h"
#include "rl/class_labels.h"
#include "rl/classification_update.h"
#include "rl/score_head.h"
#include "rollout/scoring.h"

namespace leash::cli {
namespace {

// The names beside the adapter; LABEL_0, … where PEFT alone wrote it.
ClassNames names_of(const std::filesystem::path& adapter, int64_t outputs) {
  const ClassNames names = read_class_labels(adapter).value_or(numbered_classes(outputs));
  if (static_cast<int64_t>(names.size()) != outputs) {
    throw FormatError(fmt::format("{}: labels.json names {} classes, the score head has {} outputs",
                                  adapter.string(), names.size(), outputs));
  }
  return names;
}

void print_score(const Input& input, double score, bool json) {
  if (json) return print_json_line({{"token_ids", input.ids}, {"score", score}});
  std::cout << fmt::format("{:>6} {:>7} {:>12.4f}\n", input.index + 1, input.ids.size(), score);
}

void print_class(const Input& input, const ClassNames& names, std::span<const double> probabilities,
                 bool json) {
  const auto best = std::ranges::max_element(probabilities) - probabilities.begin();
  if (json) {
    nlohmann::ordered_json by_name = nlohmann::ordered_json::object();
    for (size_t i = 0; i < names.size(); ++i) by_name[names[i]] = probabilities[i];
    return print_json_line({{"token_ids", input.ids},
                            {"label", names[static_cast<size_t>(best)]},
                            {"probabilities", std::move(by_name)}});
  }
  std::cout << fmt::format("{:>6} {:>7} {:>12.4f}  {}\n", input.index + 1, input.ids.size(),
                           probabilities[static_cast<size_t>(best)],
                           names[static_cast<size_t>(best)]);
}

void print_group(std::span<const Input> inputs, const LoadedModel& model, const Adapter& adapter,
                 const ClassNames& names, bool json) {
  std::vector<std::vector<int64_t>> sequences;
  for (const Input& input : inputs) sequences.push_back(input.ids);
  const at::Tensor logits = class_logits(sequences, *model.decoder, adapter).to(at::kDouble);
  const bool one = names.size() == 1;
  const at::Tensor values = (one ? logits : at::softmax(logits, -1)).contiguous();
  const std::span<const double> all(values.const_data_ptr<double>(),
                                    static_cast<size_t>(values.numel()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (one) {
      print_score(inputs[i], all[i], json);
    } else {
      print_class(inputs[i], names, all.subspan(i * names.size(), names.size()), json);
    }
  }
}

}  // namespace

bool scores_whole_texts(const std::filesystem::path& adapter) {
  return read_adapter_config(adapter).task_type == TaskType::SEQ_CLS;
}

void score_classes(const LoadedModel& model, const std::filesystem::path& folder,
                   const std::string& input, bool json) {
  const c10::AutoGradMode no_grad(false);
  const int64_t outputs = score_outputs(folder).value_or(1);  // none: loading says so
  const Adapter adapter = load_score_adapter(folder, *model.decoder, outputs);
  const ClassNames names = names_of(folder, outputs);
  const InputRules rules{.kinds = {InputKind::text, InputKind::messages, InputKind::token_ids},
                         .whole = true,
                         .vocab_size = model.config().vocab_size,
                         .max_positions = model.config().max_positions};
  const std::vector<Input> inputs = read_inputs(input, rules, model.tokenizer);
  if (!json) {
    std::cout << fmt::format("{:>6} {:>7} {:>12}{}\n", "line", "tokens",
                             outputs == 1 ? "score" : "probability", outputs == 1 ? "" : "  class");
  }
  std::vector<int64_t> lengths;
  for (const Input& line : inputs) lengths.push_back(static_cast<int64_t>(line.ids.size()));
  for (const auto& [begin, end] : micro_batches(lengths, ScoringOptions{}.micro_batch_tokens)) {
    print_group(std::span(inputs).subspan(begin, end - begin), model, adapter, names, json);
  }
}

}  // namespace leash::cli
