#include "configs/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "configs/task_sections.h"

namespace leash {
namespace {

constexpr std::string_view kBestModel =
    "the best snapshot is always the one with the lowest held-out loss (ppo: the highest held-out "
    "reward within ppo.best_max_kl)";

constexpr std::string_view kNoPadding = "no padding goes through a model here";
constexpr std::string_view kReverseKl =
    "f-divergences of TRL's DPO are not built here: it is the reverse KL";
constexpr std::string_view kPasses =
    "passes are bounded by micro_batch_tokens, those of the reference and of held-out data as well";

// Optimal string alignment: Levenshtein's distance with neighbours swapped as one slip.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> table(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) table[i][0] = i;
  std::iota(table[0].begin(), table[0].end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = table[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
      }
    }
  }
  return table[a.size()][b.size()];
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> known) {
  if (word.size() > 64) return std::nullopt;
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    // A prefix counts as near: "tok" means "tokenize".
    const bool prefix = word.size() >= 3 && candidate.starts_with(word);
    const size_t distance = prefix ? 1 : edit_distance(word, candidate);
    if (distance < best_distance && distance < word.size()) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> known) {
  const auto found = nearest(word, known);
  return found ? " (did you mean `" + *found + "`?)" : "";
}

std::string setting_hint(std::string_view path, std::span<const std::string> known) {
  static constexpr std::pair<std::string_view, std::string_view> kElsewhere[] = {
      {"assistant_only_loss", "data.assistant_only_loss"},
      {"bf16", "model.dtype: bfloat16"},
      {"bnb_4bit_quant_type", "model.quantize: nf4"},
      {"completion_only_loss", "data.completion_only_loss"},
      {"dataset_name", "data.train"},
      {"fp16", "model.dtype: float16"},
      {"gradient_checkpointing", "model.gradient_checkpointing"},
      {"init_kl_coef", "ppo.kl_coef"},
      {"kl_penalty", "ppo.kl_estimator"},
      {"learning_rate", "ppo.learning_rate (or sft., reward., dpo., …, as the task)"},
      {"load_in_4bit", "model.quantize: nf4"},
      {"load_in_8bit", "model.quantize: int8"},
      {"logging_steps", "run.logging_steps"},
      {"lora_r", "lora.r"},
      {"lr", "learning_rate"},
      {"max_completion_length", "rollout.response_length"},
      {"max_length", "data.max_length"},
      {"max_new_tokens", "rollout.response_length"},
      {"max_prompt_length", "data.max_prompt_length"},
      {"max_seq_length", "data.max_length"},
      {"min_p", "rollout.min_p"},
      {"mini_batch_size", "ppo.num_mini_batches"},
      {"model_name_or_path", "model.path"},
      {"output_dir", "run.output_dir"},
      {"packing", "data.packing"},
      {"per_device_train_batch_size",
       "ppo.batch_size (or sft., reward., dpo., ….per_device_train_batch_size, as the task)"},
      {"ppo_epochs", "ppo.num_ppo_epochs"},
      {"rank", "lora.r"},
      {"repetition_penalty", "rollout.repetition_penalty"},
      {"ref_model_mixup_alpha", "reference: {kind: follow, mixup_alpha: …}"},
      {"ref_model_sync_steps", "reference: {kind: follow, sync_steps: …}"},
      {"report_to", "run.report_to"},
      {"response_length", "rollout.response_length"},
      {"reward_model_path", "reward: [{kind: model, path: …}]"},
      {"reward_weights", "reward: [{weight: …}]"},
      {"save_steps", "run.save_steps"},
      {"save_strategy", "run.save_strategy"},
      {"save_total_limit", "run.save_total_limit"},
      {"seed", "run.seed"},
      {"sft_model_path", "model.path, or lora.path for an adapter"},
      {"shuffle_dataset", "data.shuffle"},
      {"stop_token", "rollout.stop_token"},
      {"sync_ref_model", "reference: {kind: follow}"},
      {"temperature", "rollout.temperature"},
      {"top_k", "rollout.top_k"},
      {"top_p", "rollout.top_p"},
      {"torch_dtype", "model.dtype"}};
  // Of the tasks without a critic, in their own section.
  static constexpr std::pair<std::string_view, std::string_view> kWithoutCritic[] = {
      {"clip_ratio_c", "delta"},
      {"cliprange", "epsilon"},
      {"dual_clip", "delta"},
      {"dynamic_filtering", "max_num_gen_batches"},
      {"filter_groups", "max_num_gen_batches"},
      {"generation_batch_size", "batch_size"},
      {"init_kl_coef", "beta"},
      {"kl_coef", "beta"},
      {"kl_penalty", "kl_estimator"},
      {"mini_batch_size", "num_mini_batches"},
      {"num_ppo_epochs", "num_iterations"},
      {"per_device_train_batch_size", "batch_size"},
      {"ppo_epochs", "num_iterations"},
      {"steps_per_generation", "num_mini_batches"},
      {"vllm_importance_sampling_cap", "importance_sampling_clip_max"},
      {"vllm_importance_sampling_clip_max", "importance_sampling_clip_max"},
      {"vllm_importance_sampling_clip_min", "importance_sampling_clip_min"},
      {"vllm_importance_sampling_correction", "importance_sampling_correction"},
      {"vllm_importance_sampling_mode", "importance_sampling_mode"}};
  // What is no setting here, in words.
  static constexpr std::pair<std::string_view, std::string_view> kInWords[] = {
      {"activation_offloading",
       "activations are not offloaded here; model.gradient_checkpointing: true computes them "
       "again"},
      {"dataset_num_proc", "data is read by one thread here"},
      {"discopop_tau", "the loss discopop of TRL's DPO is not built here"},
      {"f_alpha_divergence_coef", kReverseKl},
      {"f_divergence_type", kReverseKl},
      {"greater_is_better", kBestModel},
      {"metric_for_best_model", kBestModel},
      {"model_init_kwargs", "how a model is loaded stands in `model:`"},
      {"pad_to_multiple_of", kNoPadding},
      {"pad_token", kNoPadding},
      {"padding_free", kNoPadding},
      {"per_device_eval_batch_size", kPasses},
      {"precompute_ref_batch_size", kPasses},
      {"resume_from_checkpoint",
       "a run goes on with `leash train RECIPE --run-dir DIR --resume`, from its newest snapshot"},
      {"router_aux_loss_coef", "models with experts are not supported here"},
      {"train_sampling_strategy",
       "the order is data.shuffle's, and group_by_length's where the task has it"},
      {"trust_remote_code", "a checkpoint's own code is never run here"},
      {"use_liger_kernel", "there are no kernels to choose here"},
      {"use_weighting", "WPO's weights of TRL's DPO are not built here"}};
  if (const auto tasks = tasks_with(path)) return fmt::format("; it belongs to {}", *tasks);
  const std::string_view name = path.substr(path.rfind('.') + 1);
  const auto find = [name](const auto& table) {
    return std::ranges::find(table, name, &std::pair<std::string_view, std::string_view>::first);
  };
  const auto* words = find(kInWords);
  if (words != std::end(kInWords)) return fmt::format("; {}", words->second);
  const std::string_view section = path.substr(0, path.find('.'));
  const auto* own = find(kWithoutCritic);
  if (own != std::end(kWithoutCritic) &&
      (section == "grpo" || section == "rloo" || section == "reinforce")) {
    return fmt::format("; it is `{}.{}` here", section, own->second);
  }
  const auto* found = find(kElsewhere);
  if (found == std::end(kElsewhere) || found->second == path) return did_you_mean(name, known);
  return fmt::format("; it is `{}` here", found->second);
}

}  // namespace leash
