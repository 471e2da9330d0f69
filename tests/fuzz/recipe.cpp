// A recipe's text. What it resolves to reads as the same experiment.
#include "configs/experiment.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(text_of(data, size));
  read_or_refuse([&] { changed_settings(text, "task: sft\nsft: {max_steps: 3}\n"); });
  std::string resolved;
  read_or_refuse([&] {
    resolved = resolved_yaml(parse_experiment(text, "recipe.yaml", "/recipes").experiment);
  });
  if (resolved.empty()) return 0;
  std::string again;
  try {
    again = resolved_yaml(parse_experiment(resolved, "resolved.yaml", "/other").experiment);
  } catch (const ConfigError& error) {
    require(false, std::string("resolved.yaml is read: ") + error.what());
  }
  require(again == resolved, "resolved.yaml reads as the same experiment");
  return 0;
}
