// Reading what make_families.py wrote.
#include "tests/support/golden_family.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "models/io/safetensors.h"
#include "models/lora/peft_adapter.h"
#include "tests/support/files.h"

namespace leash::testing {

std::vector<std::string> golden_families(bool classifiers) {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(repository("tests/golden/families"))) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with("_classifier") == classifiers) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

GoldenFamily::GoldenFamily(const std::string& name)
    : folder(repository("tests/golden/families/" + name)),
      golden(open_safetensors(folder / "golden.safetensors")),
      checkpoint(open_checkpoint(folder)),
      decoder(Decoder::load(checkpoint)),
      texts({ids("ids.0"), ids("ids.1")}) {}

std::vector<int64_t> GoldenFamily::ids(const std::string& name) const {
  const at::Tensor ids = golden->read(name, at::kLong).contiguous();
  return {ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + ids.numel()};
}

at::Tensor GoldenFamily::numbers(const std::string& name) const {
  return golden->read(name, at::kFloat);
}

Adapter GoldenFamily::adapter() const {
  return load_adapter(folder / "adapter", decoder->modules());
}

at::Tensor logprobs_of(const Decoder& decoder, const at::Tensor& hidden,
                       const std::vector<int64_t>& text, const AdapterRows& adapters) {
  const auto predicted = static_cast<int64_t>(text.size()) - 1;
  const at::Tensor targets = at::tensor(text, at::kLong).narrow(0, 1, predicted);
  return decoder.token_scores(hidden.narrow(0, 0, predicted), targets, 1.0, adapters).logprobs;
}

}  // namespace leash::testing
