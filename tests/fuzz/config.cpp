// config.json and generation_config.json of a model's folder, and the modules that follow from
// them.
#include "models/families/decoder_modules.h"
#include "models/families/families.h"
#include "models/io/json_file.h"
#include "rl/classification/class_labels.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  const auto files = files_of(text_of(data, size), 2);
  folder.put("config.json", files[0]);
  read_or_refuse([&] {
    DecoderConfig config = config_from_json(parse_json(files[0], "config.json"), "config.json");
    if (!files[1].empty()) {
      apply_generation_config(parse_json(files[1], "generation_config.json"),
                              "generation_config.json", config);
    }
    // A model with so many layers has a file of that size: their names are not the attack.
    if (config.num_layers <= 64) module_groups(decoder_modules(config));
    named_classes({.path = folder.path(), .config = config, .tensors = nullptr});
  });
  return 0;
}
