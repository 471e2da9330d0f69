// What the machine can do: fp32 matrix products at the shapes in use, LibTorch's and ours, and
// memory bandwidth.
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "experiments/bench/harness.h"
#include "models/kernels/matrix_product.h"

namespace leash::bench {

namespace {

// The best of some runs, since it is the machine that is asked.
double best_gflops(double flop, const std::function<at::Tensor()>& product) {
  const c10::AutoGradMode no_grad(false);
  double best = 0;
  Stopwatch clock;
  for (int run = 0; run < 8; ++run) {
    clock.lap();
    const at::Tensor y = product();
    best = std::max(best, flop / clock.lap() / 1e9);
  }
  return best;
}

}  // namespace

double matmul_gflops(int64_t rows, int64_t in, int64_t out, const at::TensorOptions& like) {
  const at::Tensor x = at::randn({rows, in}, like), weight = at::randn({out, in}, like);
  return best_gflops(2.0 * static_cast<double>(rows * in * out),
                     [&] { return x.matmul(weight.t()); });
}

double product_gflops(int64_t rows, int64_t in, int64_t out, const at::TensorOptions& like) {
  const at::Tensor x = at::randn({rows, in}, like), weight = at::randn({out, in}, like);
  return best_gflops(2.0 * static_cast<double>(rows * in * out),
                     [&] { return linear_product(x, weight); });
}

std::vector<Row> run_machine(const Options&) {
  std::vector<Row> rows;
  const auto shape = [&rows](int64_t count, int64_t in, int64_t out) {
    const std::string size = fmt::format("-{}x{}x{}", count, in, out);
    rows.push_back({"matmul" + size, matmul_gflops(count, in, out), "GFLOP/s"});
    rows.push_back({"product" + size, product_gflops(count, in, out), "GFLOP/s"});
  };
  for (const int64_t count : {1, 4, 8, 16, 32, 64, 128, 256, 512, 1520, 2048}) {
    shape(count, 576, 3072);
  }
  for (const int64_t count : {1, 16, 64, 256}) shape(count, 576, 49152);
  for (const int64_t count : {128, 512, 2048}) shape(count, 576, 16);  // LoRA's A
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
