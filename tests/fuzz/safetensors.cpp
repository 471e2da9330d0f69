// One safetensors file.
#include "models/io/safetensors.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/safetensors_mutator.h"

using namespace leash;
using namespace leash::fuzzing;

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  return mutate_safetensors(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  folder.put("model.safetensors", text_of(data, size));
  const auto file = folder / "model.safetensors";
  read_or_refuse([&] { read_safetensors_metadata(file); });
  read_or_refuse([&] { read_safetensors(file); });
  read_or_refuse([&] {
    const auto source = open_safetensors(file);
    for (const std::string& name : source->names()) {
      source->shape(name);
      read_or_refuse([&] { source->read(name, at::kFloat); });
    }
  });
  return 0;
}
