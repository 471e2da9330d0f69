// LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"): y = W x + s B A x
// with s = alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA (Kalajdzievski 2023).
// Configuration and meaning are PEFT's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/families/module_info.h"
#include "models/fields.h"
#include "models/ordered_map.h"

namespace leash {

enum class LoraBias { none, all, lora_only };
template <>
struct EnumNames<LoraBias> {
  static constexpr std::pair<LoraBias, std::string_view> values[] = {
      {LoraBias::none, "none"}, {LoraBias::all, "all"}, {LoraBias::lora_only, "lora_only"}};
};

enum class TaskType { CAUSAL_LM, SEQ_CLS };
template <>
struct EnumNames<TaskType> {
  static constexpr std::pair<TaskType, std::string_view> values[] = {
      {TaskType::CAUSAL_LM, "CAUSAL_LM"}, {TaskType::SEQ_CLS, "SEQ_CLS"}};
};

enum class LoraInit { kaiming, gaussian };
template <>
struct EnumNames<LoraInit> {
  static constexpr std::pair<LoraInit, std::string_view> values[] = {
      {LoraInit::kaiming, "true"}, {LoraInit::gaussian, "gaussian"}};
};

struct LoraConfig {
  std::optional<std::filesystem::path> path = {};
  int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0.0;
  StringOrList target_modules = std::vector<std::string>{"q_proj", "v_proj"};
  StringOrList exclude_modules = std::vector<std::string>{};
  LoraBias bias = LoraBias::none;
  TaskType task_type = TaskType::CAUSAL_LM;
  bool use_rslora = false;
  std::vector<std::string> modules_to_save = {};
  std::vector<std::string> trainable = {};  // leash's own; resolved into modules_to_save
  std::vector<int64_t> layers_to_transform = {};
  OrderedMap<int64_t> rank_pattern = {};  // the first key that fits a module decides, as in PEFT
  OrderedMap<double> alpha_pattern = {};
  LoraInit init_lora_weights = LoraInit::kaiming;
  // What an adapter's file says about the base's weights; what holds is ModuleInfo::transposed.
  bool fan_in_fan_out = false;

  bool operator==(const LoraConfig&) const = default;
};

template <class Config, class Visitor>
requires Describes<Config, LoraConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("path", c.path,
        "go on from this adapter folder; rank, alpha, targets and dropout then come from it");
  visit("r", c.r, "rank of the update", at_least(1));
  visit("lora_alpha", c.lora_alpha, "the update is scaled by lora_alpha / r", above(0));
  visit("lora_dropout", c.lora_dropout,
        "dropout on the input of the update (supervised training only)", from_below(0, 1));
  visit("target_modules", c.target_modules,
        "module names (equal, or ending in `.name`), one regular expression for the whole path, or "
        "all-linear");
  visit("exclude_modules", c.exclude_modules, "modules to leave out, matched in the same way");
  visit("bias", c.bias, "which biases train: none, all, lora_only");
  visit("task_type", c.task_type, "CAUSAL_LM, or SEQ_CLS for a score head");
  visit("use_rslora", c.use_rslora, "scale by lora_alpha / sqrt(r)");
  visit("modules_to_save", c.modules_to_save,
        "modules that train whole, in a copy that belongs to the adapter");
  visit("trainable", c.trainable,
        "regular expressions for modules of the base (`model.layers.29`, "
        "`model.layers.2[89].mlp.*`, `model.norm`) that train whole, in copies that belong to the "
        "adapter; with target_modules: [] they train alone");
  visit("layers_to_transform", c.layers_to_transform, "only these layers (empty: all)");
  visit("rank_pattern", c.rank_pattern,
        "rank by module name or regular expression; of several that fit, the first one written");
  visit("alpha_pattern", c.alpha_pattern,
        "alpha by module name or regular expression; of several that fit, the first one written");
  visit("init_lora_weights", c.init_lora_weights, "true (Kaiming uniform A, zero B) or gaussian");
}

// One low-rank update. Trainable tensors are fp32 leaves.
struct LoraWeights {
  at::Tensor a;  // [r, in]
  at::Tensor b;  // [out, r]
  double scaling = 1.0;
};

// The base's weight of a module, or its bias: where trained copies start.
using BaseValues = std::function<at::Tensor(int64_t module, bool bias)>;

// A named set of low-rank updates and of trained copies for one decoder. A value that is handed to
// forward; copying shares the tensors, trainability included.
class Adapter {
 public:
  // A fresh, trainable adapter in fp32 that computes what the base does (B = 0), keyed by seed and
  // module path. ConfigError when a target matches nothing, listing what exists. `base_values` is
  // asked only where `bias` or `modules_to_save` (with SEQ_CLS: the score head) need copies.
  static Adapter create(const LoraConfig& config, const std::vector<ModuleInfo>& modules,
                        uint64_t seed, const BaseValues& base_values = {});
  // An adapter whose tensors come from elsewhere; everything is empty at first.
  Adapter(LoraConfig config, std::vector<ModuleInfo> modules);

  const LoraConfig& config() const { return config_; }
  const std::vector<ModuleInfo>& modules() const { return modules_; }
  // The update of a module, or nullptr.
  const LoraWeights* lora(int64_t module) const;
  // A trained copy that stands in for the base's weight or bias (modules_to_save, bias), or
  // nullptr. Beside an update, a weight is a frozen copy of the base's that came with the file
  // (PEFT stores it for an adapted lm_head).
  const at::Tensor* weight_copy(int64_t module) const;
  const at::Tensor* bias_copy(int64_t module) const;

  void set_lora(int64_t module, LoraWeights weights);
  void set_weight_copy(int64_t module, at::Tensor weight);
  void set_bias_copy(int64_t module, at::Tensor bias);

  // All tensors under PEFT's key names ("base_model.model.<path>.lora_A.weight"), in the order of
  // the modules.
  std::vector<std::pair<std::string, at::Tensor>> named_tensors() const;
  // The same as PEFT's files have them: views, where a module's weight is transposed there.
  std::vector<std::pair<std::string, at::Tensor>> file_tensors() const;
  // The leaves to train, in the same order. `set_trainable(false)` makes a frozen adapter (a
  // reference, a reward model) that has none.
  std::vector<at::Tensor> parameters() const;
  void set_trainable(bool trainable);
  int64_t num_parameters() const;  // frozen ones included
  // A copy with tensors of its own, detached: leaves that are as trainable as the originals.
  Adapter clone() const;
  // The same in another type (float64 for tests).
  Adapter to(at::ScalarType dtype) const;
  // The same on another device; this adapter itself where it is there already.
  Adapter to(at::Device device) const;

 private:
  Adapter copy_as(std::optional<at::ScalarType> dtype, std::optional<at::Device> device) const;

  LoraConfig config_;
  std::vector<ModuleInfo> modules_;
  std::vector<std::optional<LoraWeights>> lora_;
  std::vector<std::optional<at::Tensor>> weight_copies_;
  std::vector<std::optional<at::Tensor>> bias_copies_;
};

// Shapes of a module's own weight and bias, here and (where that is transposed) in Hugging Face's
// files.
std::vector<int64_t> weight_shape(const ModuleInfo& module);
std::vector<int64_t> file_weight_shape(const ModuleInfo& module);
std::vector<int64_t> bias_shape(const ModuleInfo& module);

// The one way to make a tensor that an adapter trains: an fp32 leaf with storage of its own.
at::Tensor trainable_leaf(const at::Tensor& values);

// PEFT's shorthand for every linear layer but the last, in any case of letters.
bool is_all_linear(std::string_view target_modules);

// What PEFT adds to modules_to_save by itself: "classifier" and "score" for SEQ_CLS.
std::vector<std::string> effective_modules_to_save(const LoraConfig& config);

// `trainable` turned into entries of modules_to_save: the paths of all modules that a pattern
// matches by its path, its weight's name (path.weight) or a block that it stands in, in whole
// (re.fullmatch). lm_head is left out where there is a score head, which reads no logits.
// ConfigError when a pattern matches nothing, listing what exists.
LoraConfig with_trainable_paths(const LoraConfig& config, const std::vector<ModuleInfo>& modules);

// Whether a name, pattern or layer that fits no module is an error (what the user wrote) or passed
// over as PEFT does (what a file says).
enum class Unmatched { error, ignore };

// Which modules a configuration addresses (PEFT's matching rules), with the rank and alpha of each,
// and which of them train whole or by their bias.
struct LoraTarget {
  int64_t module = 0;
  int64_t r = 0;
  double alpha = 0;
};
struct LoraMatches {
  std::vector<LoraTarget> targets;
  std::vector<int64_t> weight_copies;  // modules_to_save
  std::vector<int64_t> bias_copies;    // by `bias`, and the biases of modules_to_save
};
// Throws ConfigError with all problems; always when no target is left, unless target_modules is an
// empty list on purpose and a module trains whole.
LoraMatches match_modules(const LoraConfig& config, const std::vector<ModuleInfo>& modules,
                          Unmatched unmatched = Unmatched::error);
std::vector<LoraTarget> match_targets(const LoraConfig& config,
                                      const std::vector<ModuleInfo>& modules);
// alpha / r, or alpha / sqrt(r).
double lora_scaling(const LoraConfig& config, const LoraTarget& target);

// "trainable params: 921,600 || all params: 135,436,608 || trainable%: 0.6805", PEFT's line.
std::string trainable_parameters_line(const Adapter& adapter, int64_t base_parameters);

}  // namespace leash
