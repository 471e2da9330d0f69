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
#include "models/decoder/score_head.h"
#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/classification/class_labels.h"
#include "rl/classification/update.h"
#include "rl/data/text_ending.h"
#include "rollout/scoring.h"

namespace leash::cli {
namespace {

// A head over the model, and what its outputs are.
struct ScoreHead {
  Adapter adapter;
  ClassNames names;
  std::optional<TextEnding> ending = {};  // of a reward adapter
  std::optional<int64_t> padding = {};    // what a checkpoint's own head passes over
};

// The names beside the adapter; where PEFT alone wrote it those of the checkpoint, or LABEL_0, ….
ClassNames names_of(const std::filesystem::path& adapter, const Checkpoint& checkpoint,
                    int64_t outputs) {
  if (const auto names = read_class_labels(adapter)) {
    if (std::ssize(*names) == outputs) return *names;
    throw FormatError(fmt::format("{}: labels.json names {} classes, the score head has {} outputs",
                                  adapter.string(), names->size(), outputs));
  }
  const auto names = named_classes(checkpoint);
  return names && std::ssize(*names) == outputs ? *names : numbered_classes(outputs);
}

ScoreHead head_of_adapter(const LoadedModel& model, const std::filesystem::path& folder) {
  const int64_t outputs = score_outputs(folder).value_or(1);  // none: loading says so
  ScoreHead head{.adapter = load_score_adapter(folder, *model.decoder, outputs),
                 .names = names_of(folder, model.checkpoint, outputs)};
  if (outputs == 1) {
    const AdapterEnding trained = read_ending(folder, model.tokenizer);
    for (const std::string& warning : trained.warnings) std::cerr << "warning: " << warning << "\n";
    head.ending = trained.ending;
  }
  return head;
}

// A checkpoint's own head, as an adapter that changes nothing else.
ScoreHead head_of_checkpoint(const LoadedModel& model) {
  const int64_t outputs = LinearHead::load(model.checkpoint).weight.size(0);
  const LoraConfig head_alone{.target_modules = std::vector<std::string>{},
                              .task_type = TaskType::SEQ_CLS};
  Adapter adapter =
      start_score_adapter(head_alone, *model.decoder, model.checkpoint, /*seed=*/0, outputs);
  adapter.set_trainable(false);
  const auto names = named_classes(model.checkpoint);
  return {.adapter = std::move(adapter),
          .names = names && std::ssize(*names) == outputs ? *names : numbered_classes(outputs),
          .padding = model.config().pad_token_id};
}

// As a reward model was trained. Token ids are what they are.
void end_as_trained(std::vector<Input>& inputs, const TextEnding& ending,
                    const LoadedModel& model) {
  for (Input& input : inputs) {
    if (input.kind == InputKind::text) end_text(ending, model.tokenizer, input.ids);
    if (input.kind == InputKind::messages) end_conversation(ending, model.tokenizer, input.ids);
    if (std::ssize(input.ids) <= model.config().max_positions) continue;
    throw FormatError(
        fmt::format("line {}: {} tokens, EOS included, do not fit the model's context of {}",
                    input.index + 1, input.ids.size(), model.config().max_positions));
  }
}

// Reports what was cut off, if anything.
nlohmann::ordered_json with_cut(nlohmann::ordered_json line, const Input& input) {
  if (input.cut > 0) line["cut_tokens"] = input.cut;
  return line;
}

void print_score(const Input& input, double score, bool json) {
  if (json) return print_json_line(with_cut({{"token_ids", input.ids}, {"score", score}}, input));
  std::cout << fmt::format("{:>6} {:>7} {:>12.4f}\n", input.index + 1, input.ids.size(), score);
}

void print_class(const Input& input, const ClassNames& names, std::span<const double> probabilities,
                 bool json) {
  const auto best = std::ranges::max_element(probabilities) - probabilities.begin();
  if (json) {
    nlohmann::ordered_json by_name = nlohmann::ordered_json::object();
    for (size_t i = 0; i < names.size(); ++i) by_name[names[i]] = probabilities[i];
    return print_json_line(with_cut({{"token_ids", input.ids},
                                     {"label", names[static_cast<size_t>(best)]},
                                     {"probabilities", std::move(by_name)}},
                                    input));
  }
  std::cout << fmt::format("{:>6} {:>7} {:>12.4f}  {}\n", input.index + 1, input.ids.size(),
                           probabilities[static_cast<size_t>(best)],
                           names[static_cast<size_t>(best)]);
}

void print_group(std::span<const Input> inputs, const LoadedModel& model, const ScoreHead& head,
                 bool json) {
  const auto& [adapter, names, ending, padding] = head;
  std::vector<std::vector<int64_t>> sequences;
  for (const Input& input : inputs) {
    sequences.push_back(input.ids);
    leave_out_padding(padding, sequences.back());
  }
  const at::Tensor logits =
      class_logits(sequences, *model.decoder, adapter).to(at::kCPU, at::kDouble);
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

// As the classifier was trained; where nothing says how, whatever the context holds. A reward model
// reads whole texts only.
std::optional<TextLimit> limit_of(const LoadedModel& model,
                                  const std::optional<std::filesystem::path>& folder, bool one) {
  if (one) return std::nullopt;
  const int64_t context = model.config().max_positions;
  TextLimit limit{.max_length = context};
  if (folder) limit = read_text_limit(*folder).value_or(limit);
  limit.max_length = std::min(limit.max_length, context);
  return limit;
}

void report_cuts(std::span<const Input> inputs, const TextLimit& limit) {
  const auto texts =
      std::ranges::count_if(inputs, [](const Input& input) { return input.cut > 0; });
  if (texts == 0) return;
  int64_t tokens = 0;
  for (const Input& input : inputs) tokens += input.cut;
  std::cerr << fmt::format("{} of {} texts truncated to {} tokens ({}), by {} tokens in all\n",
                           texts, inputs.size(), limit.max_length, enum_name(limit.mode), tokens);
}

}  // namespace

bool scores_whole_texts(const LoadedModel& model,
                        const std::optional<std::filesystem::path>& adapter) {
  return adapter ? read_adapter_config(*adapter).task_type == TaskType::SEQ_CLS
                 : model.config().num_labels > 0;
}

void score_classes(const LoadedModel& model, const std::optional<std::filesystem::path>& folder,
                   const std::string& input, bool json) {
  const c10::AutoGradMode no_grad(false);
  const ScoreHead head = folder ? head_of_adapter(model, *folder) : head_of_checkpoint(model);
  const bool one = head.names.size() == 1;
  const std::optional<TextLimit> limit = limit_of(model, folder, one);
  const InputRules rules{.kinds = {InputKind::text, InputKind::messages, InputKind::token_ids},
                         .whole = true,
                         .vocab_size = model.config().vocab_size,
                         .max_positions = model.config().max_positions,
                         .limit = limit};
  std::vector<Input> inputs = read_inputs(input, rules, model.tokenizer);
  if (head.ending) end_as_trained(inputs, *head.ending, model);
  if (limit) report_cuts(inputs, *limit);
  if (!json) {
    std::cout << fmt::format("{:>6} {:>7} {:>12}{}\n", "line", "tokens",
                             one ? "score" : "probability", one ? "" : "  class");
  }
  std::vector<int64_t> lengths;
  for (const Input& line : inputs) lengths.push_back(static_cast<int64_t>(line.ids.size()));
  for (const auto& [begin, end] : micro_batches(lengths, ScoringOptions{}.micro_batch_tokens)) {
    print_group(std::span<const Input>(inputs).subspan(begin, end - begin), model, head, json);
  }
}

}  // namespace leash::cli
