// The gradients of a step of training a classifier: against the loss written out text by text, and
// unchanged by how the batch is cut.
#include "rl/classification/update.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "models/decoder/score_head.h"
#include "models/random/random.h"
#include "tests/support/first_of_two.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;
using testing::tiny_checkpoint;
using testing::tiny_decoder;

class ClassificationUpdate : public ::testing::Test {
 protected:
  ClassificationUpdate() : decoder(tiny_decoder(at::kDouble)), adapter(make_adapter()) {
    for (int64_t i = 0; i < 7; ++i) {
      LabelledText text{.label = (i * 2) % 3, .line = i + 1, .id = static_cast<uint64_t>(30 + i)};
      for (int64_t token = 0; token < 1 + (i * 5) % 9; ++token) {
        text.ids.push_back((i * 31 + token * 17) % 96);
      }
      texts.push_back(std::move(text));
    }
  }

  Adapter make_adapter() const {
    const LoraConfig config{.r = 4,
                            .lora_alpha = 8,
                            .lora_dropout = 0.3,
                            .target_modules = "all-linear",
                            .task_type = TaskType::SEQ_CLS,
                            .trainable = {"model.layers.1.mlp.up_proj", "model.norm"}};
    Adapter made = start_score_adapter(config, *decoder, tiny_checkpoint(), 3, 3);
    for (size_t module = 0; module < decoder->modules().size(); ++module) {
      const LoraWeights* weights = made.lora(static_cast<int64_t>(module));
      if (weights == nullptr) continue;
      weights->b.detach().copy_(
          normal_tensor(DrawKey{3, Purpose::noise, module, 1}, weights->b.sizes(), 0, 0.3));
    }
    score_head(made).weight.detach().mul_(20);  // logits of a size that the loss feels
    return made;
  }
  // The adapter without dropout.
  Adapter steady() const {
    LoraConfig config = adapter.config();
    config.lora_dropout = 0;
    Adapter copy(config, adapter.modules());
    for (size_t i = 0; i < adapter.modules().size(); ++i) {
      const auto module = static_cast<int64_t>(i);
      if (const auto* lora = adapter.lora(module)) copy.set_lora(module, *lora);
      if (const auto* weight = adapter.weight_copy(module)) copy.set_weight_copy(module, *weight);
    }
    return copy;
  }
  struct Gradients {
    ClassificationSums sums;
    std::vector<at::Tensor> values;
  };
  Gradients gradients(const Adapter& of, int64_t step = 1) const {
    for (at::Tensor parameter : of.parameters()) parameter.mutable_grad().reset();
    Gradients result{.sums = accumulate_gradients(text_refs(texts), step, setup, {*decoder, of},
                                                  *single_communicator()),
                     .values = {}};
    for (const at::Tensor& parameter : of.parameters()) {
      result.values.push_back(parameter.grad().clone());
    }
    return result;
  }
  static void expect_close(const Gradients& a, const Gradients& b) {
    EXPECT_NEAR(a.sums.loss, b.sums.loss, 1e-11 * b.sums.loss);
    EXPECT_EQ(a.sums.correct, b.sums.correct);
    ASSERT_EQ(a.values.size(), b.values.size());
    for (size_t i = 0; i < a.values.size(); ++i) {
      const double size = b.values[i].abs().max().item<double>();
      EXPECT_TRUE(all_close(a.values[i], b.values[i], 0, 1e-11 * size)) << i;
    }
  }

  ClassificationSetup setup;
  std::vector<LabelledText> texts;
  std::shared_ptr<const Decoder> decoder;
  Adapter adapter;
};

TEST_F(ClassificationUpdate, EqualsTheLossWrittenOutTextByText) {
  setup.classification.label_smoothing_factor = 0.15;
  setup.classification.micro_batch_tokens = 12;
  const Adapter of = steady();
  Gradients expected;
  at::Tensor total;
  for (const LabelledText& text : texts) {
    const at::Tensor hidden = decoder->forward(pack_one(text.ids), of);
    const at::Tensor log_probs = at::log_softmax(score_head(of)(hidden[hidden.size(0) - 1]), 0);
    const at::Tensor loss = log_probs[text.label] * -0.85 - log_probs.mean() * 0.15;
    total = total.defined() ? total + loss : loss;
    expected.sums.correct += log_probs.argmax().item<int64_t>() == text.label ? 1 : 0;
  }
  const at::Tensor loss = total / 7.0;
  expected.sums.loss = loss.item<double>();
  expected.values = torch::autograd::grad({loss}, of.parameters());
  const Gradients actual = gradients(of);
  expect_close(actual, expected);
  EXPECT_EQ(actual.sums.texts, 7);
  int64_t rows = 0;
  for (const LabelledText& text : texts) rows += static_cast<int64_t>(text.ids.size());
  EXPECT_EQ(actual.sums.rows, rows);
}

TEST_F(ClassificationUpdate, MicroBatchesAndRecomputationChangeNothing) {
  setup.classification.micro_batch_tokens = 1000;
  const Gradients whole = gradients(adapter);
  for (const int64_t tokens : {1, 15}) {
    setup.classification.micro_batch_tokens = tokens;
    expect_close(gradients(adapter), whole);
  }
  setup.model.gradient_checkpointing = true;
  expect_close(gradients(adapter), whole);
}

TEST_F(ClassificationUpdate, GradientsAreSentDuringTheLastBackwardPass) {
  setup.classification.micro_batch_tokens = 13;
  testing::FirstOfTwo communicator;
  (void)accumulate_gradients(text_refs(texts), 1, setup, {*decoder, adapter}, communicator);
  testing::expect_sent_in_backward(communicator, adapter.parameters());
}

TEST_F(ClassificationUpdate, DropoutDependsOnStepAndTextAlone) {
  const Gradients first = gradients(adapter, 1), again = gradients(adapter, 1),
                  later = gradients(adapter, 2), without = gradients(steady(), 1);
  for (size_t i = 0; i < first.values.size(); ++i) {
    EXPECT_TRUE(same_bits(first.values[i], again.values[i]));
    EXPECT_FALSE(first.values[i].equal(later.values[i]));
    EXPECT_FALSE(first.values[i].equal(without.values[i]));
  }
}

TEST_F(ClassificationUpdate, HeldOutTextsAreJudgedOneByOneWithoutDropout) {
  const auto classified =
      held_out_classes(text_refs(texts), 13, {*decoder, adapter}, *single_communicator());
  ASSERT_EQ(classified.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const at::Tensor logits = class_logits({&texts[i].ids, 1}, *decoder, adapter);
    const at::Tensor log_probs = at::log_softmax(logits, 1)[0].detach();
    EXPECT_EQ(classified[i].label, texts[i].label);
    EXPECT_EQ(classified[i].predicted, log_probs.argmax().item<int64_t>());
    EXPECT_NEAR(classified[i].nll, -log_probs[texts[i].label].item<double>(), 1e-11);
    EXPECT_NEAR(classified[i].confidence, std::exp(log_probs.max().item<double>()), 1e-11);
  }
}

TEST_F(ClassificationUpdate, TheHeadHasARowPerClass) {
  const LoraConfig config{.task_type = TaskType::SEQ_CLS};
  const auto head = [&](const Checkpoint& checkpoint, int64_t outputs) {
    return score_head(start_score_adapter(config, *decoder, checkpoint, 4, outputs))
        .weight.detach();
  };
  EXPECT_EQ(head(tiny_checkpoint(), 5).sizes(), (std::vector<int64_t>{5, 32}));
  EXPECT_NEAR(head(tiny_checkpoint(), 50).std().item<double>(), 0.02, 0.002);
  const Checkpoint classifier = tiny_checkpoint({.num_labels = 3});
  const at::Tensor own = classifier.tensors->read("score.weight", at::kFloat);
  EXPECT_TRUE(all_close(head(classifier, 3), own, 0, 1e-7));
  EXPECT_EQ(head(classifier, 4).size(0), 4);
}

}  // namespace
}  // namespace leash
