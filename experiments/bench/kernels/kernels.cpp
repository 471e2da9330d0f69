// Our kernels beside the operators of LibTorch that they stand for, in Google Benchmark: one call
// at SmolLM2-135M's shapes, weights and activations in the caches. `leash_bench` measures whole
// phases.
#include <ATen/Parallel.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>

#include <vector>

#include "models/attention/fused_attention.h"
#include "models/kernels/matrix_product.h"

namespace leash {
namespace {

constexpr int64_t kHidden = 576, kMiddle = 3072;
constexpr HeadShape kHeads{.num_heads = 9, .num_kv_heads = 3, .head_dim = 64};

void count(benchmark::State& state, double flop) {
  state.counters["FLOP/s"] =
      benchmark::Counter(flop, benchmark::Counter::kIsIterationInvariantRate);
}

// x Wᵀ of range(0) rows.
template <bool Ours>
void forward(benchmark::State& state) {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor x = at::randn({state.range(0), kHidden}), w = at::randn({kMiddle, kHidden});
  for ([[maybe_unused]] auto run : state) {
    benchmark::DoNotOptimize(Ours ? linear_product(x, w) : x.mm(w.t()));
  }
  count(state, 2.0 * static_cast<double>(state.range(0) * kHidden * kMiddle));
}
BENCHMARK(forward<true>)->Name("x_Wt/leash")->RangeMultiplier(4)->Range(1, 1024)->UseRealTime();
BENCHMARK(forward<false>)->Name("x_Wt/LibTorch")->RangeMultiplier(4)->Range(1, 1024)->UseRealTime();

// dyᵀ x, the gradient of a weight.
template <bool Ours>
void weight_gradient(benchmark::State& state) {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor x = at::randn({state.range(0), kHidden}),
                   dy = at::randn({state.range(0), kMiddle});
  for ([[maybe_unused]] auto run : state) {
    benchmark::DoNotOptimize(Ours ? matrix_product(dy.t(), x) : dy.t().mm(x));
  }
  count(state, 2.0 * static_cast<double>(state.range(0) * kHidden * kMiddle));
}
BENCHMARK(weight_gradient<true>)->Name("dyt_x/leash")->Arg(128)->Arg(512)->UseRealTime();
BENCHMARK(weight_gradient<false>)->Name("dyt_x/LibTorch")->Arg(128)->Arg(512)->UseRealTime();

// Five sequences of range(0) tokens, forward: ours from the projection, LibTorch's operator from
// heads that are rotated and sorted already.
void attention_of_ours(benchmark::State& state) {
  const c10::AutoGradMode no_grad(false);
  constexpr int64_t kSequences = 5;
  const int64_t length = state.range(0);
  const at::Tensor qkv = at::randn({kSequences * length, 15 * kHeads.head_dim});
  const at::Tensor positions = at::arange(length).repeat({kSequences});
  const RopeTable table =
      rope_table({.theta = 10000, .rotary_dim = kHeads.head_dim}, state.range(0));
  std::vector<SequenceRows> places;
  for (int64_t i = 0; i < kSequences; ++i) places.push_back({.begin = i * length, .rows = length});
  for ([[maybe_unused]] auto run : state) {
    benchmark::DoNotOptimize(
        fused_attention(qkv, positions, table, kHeads, places, /*keep_logsumexp=*/true));
  }
}
BENCHMARK(attention_of_ours)->Name("attention/leash")->Arg(95)->Arg(512)->UseRealTime();

void attention_of_libtorch(benchmark::State& state) {
  const c10::AutoGradMode no_grad(false);
  const auto heads = [&] {
    return at::randn({1, kHeads.num_heads, state.range(0), kHeads.head_dim});
  };
  const at::Tensor query = heads(), key = heads(), value = heads();
  for ([[maybe_unused]] auto run : state) {
    for (int sequence = 0; sequence < 5; ++sequence) {
      benchmark::DoNotOptimize(at::_scaled_dot_product_flash_attention_for_cpu(
          query, key, value, /*dropout_p=*/0.0, /*is_causal=*/true));
    }
  }
}
BENCHMARK(attention_of_libtorch)->Name("attention/LibTorch")->Arg(95)->Arg(512)->UseRealTime();

}  // namespace
}  // namespace leash

BENCHMARK_MAIN();
