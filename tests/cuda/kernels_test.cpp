// Our kernels on a GPU against the CPU's numbers.
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/attention/attention.h"
#include "models/attention/rope.h"
#include "models/attention/varlen_attention.h"
#include "models/decoder/norm.h"
#include "models/quant/decode_cuda.h"
#include "models/quant/device_decoding.h"
#include "models/random/random.h"
#include "models/vocabulary/vocabulary_cuda.h"
#include "rollout/sampling.h"
#include "tests/support/cuda_device.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::kGpu;
using testing::same_bits;

at::Tensor noise(at::IntArrayRef shape, uint64_t index) {
  return normal_tensor(DrawKey{13, Purpose::noise, index}, shape, 0, 1);
}

TEST(CudaKernels, DecodedBlocksAreTheCpusBits) {
  LEASH_NEEDS_GPU();
  for (const BlockType type : {BlockType::f32, BlockType::f16, BlockType::q4_0, BlockType::q4_1,
                               BlockType::q5_0, BlockType::q5_1, BlockType::q8_0, BlockType::q4_k,
                               BlockType::q5_k, BlockType::q6_k, BlockType::bf16}) {
    SCOPED_TRACE(std::string(block_format(type).name));
    // Bytes that make every scale finite: no byte above 0x7a.
    const at::Tensor bytes = at::randint(0x7b, {7, block_bytes(type, 512)}, at::kByte);
    const at::Tensor expected = at::empty({7, 512}, at::kFloat);
    dequantize(
        type,
        {static_cast<const std::byte*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())},
        expected.numel(), expected.mutable_data_ptr<float>());
    const at::Tensor out = at::empty({7, 512}, at::TensorOptions(kGpu));
    cuda::decode_blocks(type, bytes.to(kGpu), out);
    EXPECT_TRUE(same_bits(out.cpu(), expected));
  }
}

TEST(CudaKernels, DecodedNf4IsTheCpusBits) {
  LEASH_NEEDS_GPU();
  const auto rows = nf4_rows(quantize_nf4(noise({301, 73}, 1)));
  const auto there = rows->to(kGpu);
  const at::Tensor expected = at::empty({20, 73}), out = at::empty({20, 73}, kGpu);
  rows->decode(250, 20, expected.mutable_data_ptr<float>());
  there->decode_into(250, 20, out);
  EXPECT_TRUE(same_bits(out.cpu(), expected));
}

TEST(CudaKernels, RowScoresAndTheirGradients) {
  LEASH_NEEDS_GPU();
  const at::Tensor logits = noise({9, 5000}, 2).mul(3);
  const at::Tensor targets = at::randint(5000, {9}, at::kLong);
  const double temperature = 0.7;
  const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble).div(temperature), -1);
  const auto found = cuda::score_rows(logits.to(kGpu), targets.to(kGpu), temperature);
  EXPECT_TRUE(all_close(found.logprobs.cpu().to(at::kDouble),
                        log_p.gather(1, targets.unsqueeze(1)).squeeze(1), 1e-5, 1e-5));
  EXPECT_TRUE(all_close(found.entropies.cpu().to(at::kDouble), log_p.exp().mul(log_p).sum(-1).neg(),
                        1e-5, 1e-5));
  const at::Tensor leaf = logits.to(at::kDouble).requires_grad_(true), g = noise({9}, 3);
  const at::Tensor picked =
      at::log_softmax(leaf.div(temperature), -1).gather(1, targets.unsqueeze(1)).squeeze(1);
  const at::Tensor expected =
      torch::autograd::grad({picked.mul(g.to(at::kDouble)).sum()}, {leaf})[0];
  const at::Tensor there = logits.to(kGpu);
  cuda::logprob_backward(there, targets.to(kGpu), temperature, found.log_normalizers, g.to(kGpu));
  EXPECT_TRUE(all_close(there.cpu().to(at::kDouble), expected, 1e-4, 1e-7));
}

TEST(CudaKernels, DrawsAreTheCpus) {
  LEASH_NEEDS_GPU();
  const at::Tensor logits = noise({64, 3001}, 4).mul(3);
  std::vector<double> uniforms;
  for (uint64_t i = 0; i < 64; ++i) uniforms.push_back(draw_uniform({3, Purpose::noise}, i));
  for (const double temperature : {0.8, 0.0}) {
    const SamplingConfig config{.temperature = temperature};
    const auto here = sample_tokens(logits, config, uniforms, {}, {});
    const auto there = draw_tokens(logits.to(kGpu), config, uniforms, {}, {});
    ASSERT_EQ(here.size(), there.size());
    for (size_t i = 0; i < here.size(); ++i) {
      EXPECT_EQ(here[i].token, there[i].token);
      EXPECT_NEAR(here[i].logprob, there[i].logprob, 1e-5);
      EXPECT_NEAR(here[i].behaviour_logprob, there[i].behaviour_logprob, 1e-5);
      EXPECT_NEAR(here[i].entropy, there[i].entropy, 1e-5);
    }
  }
}

TEST(CudaKernels, OfEqualLogitsTheFirstIsPicked) {
  LEASH_NEEDS_GPU();
  const at::Tensor logits = at::zeros({3, 4001});
  logits[0][700].fill_(2.0);
  logits[0][701].fill_(2.0);
  logits[1][4000].fill_(1.0);
  const std::vector<double> uniforms(3, 0.5);
  const auto picked = draw_tokens(logits.to(kGpu), {.temperature = 0.0}, uniforms, {}, {});
  EXPECT_EQ(picked[0].token, 700);
  EXPECT_EQ(picked[1].token, 4000);
  EXPECT_EQ(picked[2].token, 0);
}

TEST(CudaKernels, UniformDrawsAreTheCpus) {
  LEASH_NEEDS_GPU();
  for (const int64_t count : {1, 2, 777, 100000}) {
    const DrawKey key{5, Purpose::dropout, 3, 8, static_cast<uint64_t>(count)};
    EXPECT_TRUE(same_bits(uniform_tensor(key, {count}, -0.3, 0.7, kGpu).cpu(),
                          uniform_tensor(key, {count}, -0.3, 0.7)));
  }
}

// Heads of which the last entries are not turned, read out of wider rows.
TEST(CudaKernels, RotatedHeadsAndTheirGradients) {
  LEASH_NEEDS_GPU();
  RopeConfig rope;
  rope.rotary_dim = 48;
  const RopeTable here = rope_table(rope, 300);
  const RopeTable there{.cosines = here.cosines.to(kGpu), .sines = here.sines.to(kGpu)};
  const at::Tensor positions = at::randint(300, {37}, at::kLong), weights = noise({37, 5, 64}, 8);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const double tolerance = dtype == at::kFloat ? 1e-5 : 2e-2;
    const at::Tensor wide = noise({37, 7 * 64}, 7).to(dtype);
    const auto heads = [](const at::Tensor& x) {
      return x.narrow(1, 64, 5 * 64).unflatten(1, {5, 64});
    };
    const at::Tensor a = wide.to(at::kDouble).requires_grad_(true);
    const at::Tensor b = wide.to(kGpu).requires_grad_(true);
    const at::Tensor expected = rotate(heads(a), positions, here);
    const at::Tensor found = rotate(heads(b), positions.to(kGpu), there);
    EXPECT_TRUE(all_close(found.cpu().to(at::kDouble), expected, tolerance, tolerance));
    const auto da = torch::autograd::grad({expected.mul(weights).sum()}, {a})[0];
    const auto db = torch::autograd::grad({found.mul(weights.to(dtype).to(kGpu)).sum()}, {b})[0];
    EXPECT_TRUE(all_close(db.cpu().to(at::kDouble), da, tolerance, tolerance));
  }
}

TEST(CudaKernels, NormsAndTheirGradients) {
  LEASH_NEEDS_GPU();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const double tolerance = dtype == at::kFloat ? 1e-5 : 4e-2;
    const at::Tensor x = noise({19, 576}, 10).to(dtype), weight = noise({576}, 11).to(dtype);
    const at::Tensor g = noise({19, 576}, 12).to(dtype);
    const at::Tensor a = x.to(at::kDouble).requires_grad_(true);
    const at::Tensor b = x.to(kGpu).requires_grad_(true);
    const at::Tensor expected = rms_norm_plain(a, weight.to(at::kDouble), 1e-5);
    const at::Tensor found = rms_norm(b, weight.to(kGpu), 1e-5);
    EXPECT_TRUE(all_close(found.cpu().to(at::kDouble), expected, tolerance, tolerance));
    const auto da = torch::autograd::grad({expected.mul(g.to(at::kDouble)).sum()}, {a})[0];
    const auto db = torch::autograd::grad({found.mul(g.to(kGpu)).sum()}, {b})[0];
    EXPECT_TRUE(all_close(db.cpu().to(at::kDouble), da, tolerance, tolerance));
  }
}

// Flash attention in bfloat16, memory-efficient attention in float32, against float64 on the CPU.
TEST(CudaKernels, FusedAttentionAndItsGradients) {
  LEASH_NEEDS_GPU();
  const std::vector<int64_t> lengths = {40, 1, 23, 64};
  for (const std::vector<int64_t>& prefixes :
       {std::vector<int64_t>{}, std::vector<int64_t>{-1, 0, 0, -1}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      std::vector<at::Tensor> here, there;
      for (uint64_t i = 0; i < 3; ++i) {
        const at::Tensor values = noise({128, i == 0 ? 4 : 2, 64}, 5 + i).to(dtype);
        here.push_back(values.to(at::kDouble).requires_grad_(true));
        there.push_back(values.to(kGpu).requires_grad_(true));
      }
      const at::Tensor weights = noise({128, 256}, 9).to(dtype);
      const at::Tensor expected = packed_attention(here[0], here[1], here[2], lengths, prefixes);
      const at::Tensor ours =
          varlen_attention(there[0], there[1], there[2], varlen_plan(lengths, prefixes, kGpu));
      const double tolerance = dtype == at::kFloat ? 1e-4 : 3e-2;
      EXPECT_TRUE(all_close(ours.detach().cpu().to(at::kDouble), expected, tolerance, tolerance));
      const auto a = torch::autograd::grad({expected.mul(weights.to(at::kDouble)).sum()}, here);
      const auto b = torch::autograd::grad({ours.mul(weights.to(kGpu)).sum()}, there);
      for (size_t i = 0; i < a.size(); ++i) {
        const double scale = a[i].abs().max().item<double>();
        EXPECT_TRUE(all_close(b[i].cpu().to(at::kDouble), a[i], 0, tolerance * scale));
      }
    }
  }
}

}  // namespace
}  // namespace leash
