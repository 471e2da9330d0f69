// What the machine can do: fp32 matrix products at the shapes in use, and memory bandwidth.
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "experiments/bench/harness.h"
#include "models/small_product.h"

namespace leash::bench {

double matmul_gflops(int64_t rows, int64_t in, int64_t out, const at::TensorOptions& like) {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor x = at::randn({rows, in}, like);
  const at::Tensor weight = at::randn({out, in}, like);
  double best = 0;
  Stopwatch clock;
  for (int run = 0; run < 8; ++run) {
    clock.lap();
    const at::Tensor y = x.matmul(weight.t());
    best = std::max(best, 2.0 * static_cast<double>(rows * in * out) / clock.lap() / 1e9);
  }
  return best;
}

namespace {

double small_gflops(int64_t rows, int64_t in, int64_t out) {
  const at::Tensor x = at::randn({rows, in}, at::kFloat);
  const at::Tensor weight = at::randn({out, in}, at::kFloat);
  double best = 0;
  Stopwatch clock;
  for (int run = 0; run < 8; ++run) {
    clock.lap();
    const at::Tensor y = small_product(x, weight);
    best = std::max(best, 2.0 * static_cast<double>(rows * in * out) / clock.lap() / 1e9);
  }
  return best;
}

}  // namespace

std::vector<Row> run_machine(const Options&) {
  std::vector<Row> rows;
  for (const int64_t count : {1, 4, 8, 16, 32, 64, 128, 256, 1520, 2048}) {
    rows.push_back(
        {fmt::format("matmul-{}x576x3072", count), matmul_gflops(count, 576, 3072), "GFLOP/s"});
  }
  rows.push_back({"matmul-16x576x49152", matmul_gflops(16, 576, 49152), "GFLOP/s"});
  rows.push_back({"matmul-256x576x49152", matmul_gflops(256, 576, 49152), "GFLOP/s"});
  for (const int64_t count : {1, 4, 8, 16, 32, 64, 128, 256}) {
    rows.push_back(
        {fmt::format("small-{}x576x3072", count), small_gflops(count, 576, 3072), "GFLOP/s"});
    rows.push_back(
        {fmt::format("small-{}x576x49152", count), small_gflops(count, 576, 49152), "GFLOP/s"});
  }
  const at::Tensor from = at::randn({int64_t{32} << 20}, at::kFloat);
  at::Tensor to = at::empty_like(from);
  double read = 0, copied = 0;
  Stopwatch clock;
  for (int run = 0; run < 5; ++run) {
    clock.lap();
    from.sum();
    read = std::max(read, static_cast<double>(from.nbytes()) / clock.lap() / 1e9);
    to.copy_(from);
    copied = std::max(copied, 2.0 * static_cast<double>(from.nbytes()) / clock.lap() / 1e9);
  }
  rows.push_back({"memory-read", read, "GB/s"});
  rows.push_back({"memory-copy", copied, "GB/s"});
  return rows;
}

}  // namespace leash::bench
