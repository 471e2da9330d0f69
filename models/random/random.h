// Counter-based randomness: every draw is a pure function of a seed and of the place where it is
// used. There is no generator state to order, race for or save.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leash {

// What a draw is for; part of its key, so that purposes never share numbers.
enum class Purpose : uint32_t {
  sampling = 1,
  shuffle = 2,
  dropout = 3,
  lora_init = 4,
  head_init = 5,
  minibatch = 6,
  evaluation = 7,
  bootstrap = 8,
  noise = 9
};

// The place of a draw: (seed, purpose, a, b, c) and an index for draws after each other. `a`, `b`,
// `c` are by convention step, sample, and position (or layer and module). All kinds of draws of one
// key read the same stream of words, so a place takes one kind only.
struct DrawKey {
  uint64_t seed = 0;
  Purpose purpose = Purpose::sampling;
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t c = 0;
};

// 32 random bits (Philox4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
// 3").
uint32_t draw_bits(const DrawKey& key, uint64_t index = 0);
// Uniform in [0, 1) with 53 bits.
double draw_uniform(const DrawKey& key, uint64_t index = 0);
// Standard normal (Box–Muller).
double draw_normal(const DrawKey& key, uint64_t index = 0);
// fp32 tensors of the draws with indices 0, 1, 2, …, scaled: [low, high), or mean and stddev.
// On a GPU uniform draws are made there, with the CPU's numbers.
at::Tensor uniform_tensor(const DrawKey& key, at::IntArrayRef shape, double low, double high,
                          at::Device device = at::kCPU);
at::Tensor normal_tensor(const DrawKey& key, at::IntArrayRef shape, double mean, double stddev);
// A permutation of 0 … n-1 (Fisher–Yates).
std::vector<int64_t> draw_permutation(const DrawKey& key, int64_t n);

}  // namespace leash
