// state.json and optimizer.safetensors of a snapshot, read as the tasks read theirs, beside an
// adapter that is as it should be.
#include "rl/policy/snapshot.h"

#include <ATen/ops/zeros.h>

#include "models/families/decoder_modules.h"
#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"
#include "rl/training/snapshot.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

Adapter tiny_adapter() {
  const DecoderConfig config{.family = "llama",
                             .vocab_size = 16,
                             .hidden_size = 8,
                             .intermediate_size = 12,
                             .num_layers = 1,
                             .num_heads = 2,
                             .num_kv_heads = 1,
                             .head_dim = 4,
                             .max_positions = 32};
  LoraConfig lora;
  lora.r = 2;
  lora.target_modules = std::vector<std::string>{"q_proj"};
  return Adapter::create(lora, decoder_modules(config), /*seed=*/1);
}

NumericEnvironment environment() {
  NumericEnvironment known{.base = "base",
                           .quantize = "none",
                           .dtype = "Float",
                           .threads = 1,
                           .cpu_capability = "AVX2",
                           .build = "2.11.0"};
  known.data["train"] = {"data"};
  return known;
}

void read_supervised(const std::filesystem::path& folder, OptimizerKind kind) {
  TrainedModel model{.adapter = tiny_adapter(), .environment = environment()};
  Optimizer optimizer(model.adapter.parameters(), {.kind = kind});
  Console silent(-1, /*terminal=*/false);
  read_training_snapshot(folder, model, optimizer, /*allow_inexact=*/true, silent);
}

void read_policy_run(const std::filesystem::path& folder) {
  PolicyRoles roles{.policy = tiny_adapter(), .environment = environment()};
  PolicyOptimizers optimizers(PolicyConfig{}, roles);
  Console silent(-1, /*terminal=*/false);
  read_policy_snapshot(folder, roles, optimizers, /*allow_inexact=*/true, silent);
}

InputFolder folder_with_adapter() {
  InputFolder folder;
  save_adapter(folder.path(), tiny_adapter(), "base");
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder = folder_with_adapter();
  const auto files = files_of(text_of(data, size), 2);
  folder.put("state.json", files[0]);
  folder.put("optimizer.safetensors", files[1]);
  for (const auto kind : {OptimizerKind::adamw_torch, OptimizerKind::adamw_8bit, OptimizerKind::sgd,
                          OptimizerKind::adafactor}) {
    read_or_refuse([&] { read_supervised(folder.path(), kind); });
  }
  read_or_refuse([&] { read_policy_run(folder.path()); });
  return 0;
}
