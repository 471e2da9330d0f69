// An adapter's folder, read for a model of one layer with a score head: adapter_config.json,
// labels.json, truncation.json and adapter_model.safetensors.
#include <algorithm>
#include <cstring>
#include <string>

#include "models/decoder/score_head.h"
#include "models/families/decoder_modules.h"
#include "models/lora/peft_adapter.h"
#include "rl/classification/class_labels.h"
#include "rl/data/cut_text.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/safetensors_mutator.h"

using namespace leash;
using namespace leash::fuzzing;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

constexpr size_t kNumFiles = 4;

std::vector<ModuleInfo> tiny_modules() {
  std::vector<ModuleInfo> modules = decoder_modules({.family = "llama",
                                                     .vocab_size = 16,
                                                     .hidden_size = 8,
                                                     .intermediate_size = 12,
                                                     .num_layers = 1,
                                                     .num_heads = 2,
                                                     .num_kv_heads = 1,
                                                     .head_dim = 4,
                                                     .max_positions = 32,
                                                     .qkv_bias = true});
  modules.push_back(score_module(8, 1));
  return modules;
}

}  // namespace

// Half of the time the texts, half of the time the tensors.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  const std::string_view tensors = files_of(text_of(data, size), kNumFiles).back();
  const size_t texts = size - tensors.size();
  if (seed % 2 == 0 && max_size > texts) {
    return texts + mutate_safetensors(data + texts, tensors.size(), max_size - texts, seed / 2);
  }
  if (max_size == tensors.size()) return size;
  const std::string kept(tensors);
  const size_t changed = LLVMFuzzerMutate(data, texts, max_size - kept.size());
  std::memcpy(data + changed, kept.data(), kept.size());
  return changed + kept.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  static const std::vector<ModuleInfo> modules = tiny_modules();
  const auto files = files_of(text_of(data, size), kNumFiles);
  folder.put("adapter_config.json", files[0]);
  folder.put("labels.json", files[1]);
  folder.put("truncation.json", files[2]);
  folder.put("adapter_model.safetensors", files[3]);
  read_or_refuse([&] { load_adapter(folder.path(), modules); });
  read_or_refuse([&] { score_outputs(folder.path()); });
  read_or_refuse([&] { read_class_labels(folder.path()); });
  read_or_refuse([&] { read_text_limit(folder.path()); });
  return 0;
}
