// A base in bfloat16 beneath an adapter in fp32: what master weights are elsewhere.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/rl/sft/run.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::read_text;
using testing::ScratchFolder;

std::vector<at::Tensor> gradients(at::ScalarType dtype) {
  const auto decoder = testing::tiny_decoder(dtype);
  const Adapter adapter = testing::tiny_adapter(*testing::tiny_decoder(at::kFloat), 3, 0.1);
  const auto data = testing::uneven_samples();
  accumulate_gradients(sample_refs(data), 1, SftSetup{}, {*decoder, adapter},
                       *single_communicator());
  std::vector<at::Tensor> result;
  for (const at::Tensor& parameter : adapter.parameters()) result.push_back(parameter.grad());
  return result;
}

TEST(Bfloat16Training, GradientsAreFp32AndCloseToThoseOfAnFp32Base) {
  const auto narrow = gradients(at::kBFloat16), wide = gradients(at::kFloat);
  double difference = 0, size = 0;
  for (size_t i = 0; i < wide.size(); ++i) {
    ASSERT_EQ(narrow[i].scalar_type(), at::kFloat);
    difference += narrow[i].sub(wide[i]).square().sum().item<double>();
    size += wide[i].square().sum().item<double>();
  }
  EXPECT_LT(std::sqrt(difference / size), 0.05);
  EXPECT_GT(difference, 0);
}

TEST(Bfloat16Training, LossesFollowThoseOfFloat32) {
  const ScratchFolder folder;
  testing::make_model(folder / "model");
  std::string lines;
  for (int i = 0; i < 16; ++i) {
    lines += "{\"text\": \"SAY " + std::to_string(i) + " AND " + std::to_string(i + 1) + "\"}\n";
  }
  testing::write_text(folder / "train.jsonl", lines);
  const auto losses = [&](DtypeChoice dtype) {
    SftSetup setup;
    setup.model = {.path = (folder / "model").string(), .dtype = dtype};
    setup.data.train = folder / "train.jsonl";
    setup.sft.per_device_train_batch_size = 4;
    setup.sft.learning_rate = 5e-3;
    setup.sft.max_steps = 4;
    const auto run = testing::run_sft(setup, folder / std::string(enum_name(dtype)));
    std::vector<double> result;
    for (size_t row = 0; row < 4; ++row) result.push_back(run.metric(row, "loss"));
    return result;
  };
  const auto wide = losses(DtypeChoice::float32), narrow = losses(DtypeChoice::bfloat16);
  for (size_t step = 0; step < 4; ++step) EXPECT_NEAR(narrow[step] / wide[step], 1.0, 2e-3) << step;
  // Each step sees other texts; that it trains is what the other losses say.
  EXPECT_GT(std::abs(wide[3] - wide[0]), 0.01);
}

TEST(Bfloat16Training, ResumingIsBitIdentical) {
  const ScratchFolder folder;
  testing::make_model(folder / "model");
  std::string lines;
  for (int i = 0; i < 12; ++i) {
    lines += "{\"text\": \"SAY " + std::to_string(i) + "\"}\n";
  }
  testing::write_text(folder / "train.jsonl", lines);
  for (const Quantize quantize : {Quantize::none, Quantize::nf4}) {
    const std::string kind(enum_name(quantize));
    SftSetup setup;
    setup.model = {.path = (folder / "model").string(),
                   .dtype = DtypeChoice::bfloat16,
                   .quantize = quantize,
                   .gradient_checkpointing = true};
    setup.lora.lora_dropout = 0.1;
    setup.data.train = folder / "train.jsonl";
    setup.sft.per_device_train_batch_size = 4;
    setup.sft.max_steps = 6;
    setup.run.save_steps = 2;
    testing::run_sft(setup, folder / ("whole-" + kind));
    testing::run_sft(setup, folder / ("parts-" + kind), 3);
    testing::run_sft(setup, folder / ("parts-" + kind));
    const auto adapter = [&](const std::string& run) {
      return read_text(folder / (run + kind) / "adapter/adapter_model.safetensors");
    };
    EXPECT_TRUE(adapter("whole-") == adapter("parts-")) << kind;
    for (const auto& [name, tensor] :
         read_safetensors(folder / ("whole-" + kind) / "adapter/adapter_model.safetensors")) {
      EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
    }
  }
}

}  // namespace
}  // namespace leash
