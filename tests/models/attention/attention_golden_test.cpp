// Attention by rules against transformers' modules (tests/golden/make_attention.py).
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <nlohmann/json.hpp>

#include "models/attention/attention.h"
#include "models/io/safetensors.h"
#include "tests/support/files.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using nlohmann::json;
using testing::all_close;

TEST(GoldenAttention, RulesEqualTransformers) {
  const json rules =
      json::parse(testing::read_text(testing::repository("tests/golden/attention.json")));
  const auto golden = open_safetensors(testing::repository("tests/golden/attention.safetensors"));
  ASSERT_EQ(rules.size(), 4U);
  for (const auto& [name, fields] : rules.items()) {
    SCOPED_TRACE(name);
    AttentionRule rule;
    rule.window = fields.value("window", int64_t{0});
    rule.scale = fields.value("scale", 0.0);
    rule.softcap = fields.value("softcap", 0.0);
    rule.bfloat16_bias = fields.value("bfloat16_bias", false);
    if (fields.contains("slopes"))
      rule.slopes = at::tensor(fields["slopes"].get<std::vector<float>>(), at::kFloat);
    const auto read = [&](const std::string& kind) {
      return golden->read(name + "." + kind, at::kFloat).contiguous();
    };
    std::vector<at::Tensor> inputs;
    for (const char* kind : {"query", "key", "value"})
      inputs.push_back(read(kind).requires_grad_(true));
    const at::Tensor out =
        packed_attention(inputs[0], inputs[1], inputs[2], {inputs[0].size(0)}, {}, rule);
    EXPECT_TRUE(all_close(out.detach(), read("out"), 0, 2e-6));
    const auto gradients = torch::autograd::grad({out}, inputs, {read("dy")});
    EXPECT_TRUE(all_close(gradients[0], read("dquery"), 0, 1e-5));
    EXPECT_TRUE(all_close(gradients[1], read("dkey"), 0, 1e-5));
    EXPECT_TRUE(all_close(gradients[2], read("dvalue"), 0, 1e-5));
  }
}

}  // namespace
}  // namespace leash
