// Whether a trained adapter still makes a model.
#include "rl/training/probe.h"

#include <gtest/gtest.h>

#include <limits>

#include "models/errors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

// Every token of the probe but one may be worth nothing: padding's embedding often is.
TEST(Probe, AZeroEmbeddingIsNoDivergence) {
  const Checkpoint checkpoint = testing::tiny_checkpoint();
  const auto& tensors = dynamic_cast<const testing::MemoryTensors&>(*checkpoint.tensors).tensors;
  at::Tensor embedding = tensors.at("model.embed_tokens.weight");
  embedding[0].zero_();
  const auto decoder = Decoder::load(checkpoint);
  EXPECT_NO_THROW(require_usable(*decoder, testing::tiny_adapter(*decoder), nullptr, 3));
}

TEST(Probe, NumbersThatAreNotFiniteAre) {
  const auto decoder = testing::tiny_decoder();
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
    const Adapter adapter = testing::tiny_adapter(*decoder);
    for (at::Tensor leaf : adapter.parameters()) leaf.detach().fill_(bad);
    EXPECT_THROW(require_usable(*decoder, adapter, nullptr, 3), NonFinite) << bad;
  }
}

}  // namespace
}  // namespace leash
