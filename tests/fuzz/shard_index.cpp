// model.safetensors.index.json beside two shards that are as they should be.
#include <ATen/ops/zeros.h>

#include "models/io/safetensors.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

InputFolder folder_with_shards() {
  InputFolder folder;
  write_safetensors(folder / "a.safetensors", {{"x", at::zeros({2})}, {"y", at::zeros({1})}});
  write_safetensors(folder / "b.safetensors", {{"z", at::zeros({3})}});
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder = folder_with_shards();
  folder.put("model.safetensors.index.json", text_of(data, size));
  read_or_refuse([&] {
    const auto source = open_sharded_safetensors(folder / "model.safetensors.index.json");
    for (const std::string& name : source->names()) source->read(name, at::kFloat);
  });
  return 0;
}
