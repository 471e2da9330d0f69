// A weight in panels (models/kernels/panels.h) and its products on a CPU: x Wᵀ for one row as for
// thousands, and dy W, all from one copy of the numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "models/kernels/panels.h"

namespace leash {

// The left factor of a product by words: fp32 as it lies, or rounded to bf16.
struct ProductRows {
  ProductRows(const at::Tensor& x /* [rows, depth], any floating type, on the CPU */,
              panels::Kind kind);
  at::Tensor numbers;  // owns what `words` are of
  const uint32_t* words = nullptr;
  int64_t stride = 0;  // words
};

class PackedMatrix {
 public:
  // fp32 with AVX-512, bf16 with AVX512-BF16; both on the CPU.
  static bool fits(at::ScalarType type, at::Device device);

  // A copy of weight [out, in] of such a type.
  explicit PackedMatrix(const at::Tensor& weight);
  // One whose panels (panels() of another one) are there already; shares their memory.
  PackedMatrix(at::Tensor panels, int64_t out_features, int64_t in_features);

  int64_t out_features() const { return out_; }
  int64_t in_features() const { return in_; }
  at::ScalarType type() const { return panels_.scalar_type(); }
  // [numbers] of type(): whole panels, with zeros where there are no outputs or inputs.
  const at::Tensor& panels() const { return panels_; }
  // How many those are.
  static int64_t numbers(at::ScalarType type, int64_t out_features, int64_t in_features);

  // x Wᵀ and dy W in fp32 [rows, …], without gradients. A row's result does not depend on the other
  // rows, nor on the number of threads.
  at::Tensor multiply(const at::Tensor& x /* [rows, in] */) const;
  at::Tensor multiply_transposed(const at::Tensor& dy /* [rows, out] */) const;
  // The latter into fp32 [rows, in], contiguous, or added to what is there.
  void multiply_transposed_into(const at::Tensor& dx, const at::Tensor& dy, bool add) const;

  at::Tensor dense() const;                      // [out, in] of type()
  at::Tensor rows(const at::Tensor& ids) const;  // int64 [n] -> fp32 [n, in]

 private:
  panels::Kind kind() const;
  int64_t words() const;  // of a row
  const uint32_t* data() const;
  void unpack(int64_t row, uint32_t* out) const;

  int64_t out_, in_;
  at::Tensor panels_;
};

// Which of our products, and so which promises, this machine has: "bfloat16 and float32 by
// AVX512-BF16", "float32 by AVX-512", "none".
std::string own_products();

}  // namespace leash
