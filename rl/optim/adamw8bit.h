// AdamW whose moments are kept in 8 bits (Dettmers et al. 2022), with bitsandbytes' arithmetic.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "rl/optim/adamw.h"
#include "rl/optim/blockwise8bit.h"
#include "rl/optim/saved_state.h"

namespace leash {

// Smaller tensors keep their moments in 32 bits, as in bitsandbytes.
inline constexpr int64_t kMin8bitElements = 4096;

class AdamW8bit {
 public:
  // `paged`: the codes of tensors with kMinPagedElements and more lie in memory that pages
  // (rl/optim/paged_memory.h).
  AdamW8bit(std::vector<at::Tensor> parameters, const AdamWConfig& config, bool paged = false);
  // One update; a parameter without a gradient is left alone, its step count included. The
  // arithmetic is float32 whatever the parameter's type; the update uses the moments before they
  // are rounded to 8 bits.
  void step(double learning_rate);
  void zero_grad();
  const std::vector<at::Tensor>& parameters() const { return parameters_; }

  // "0.exp_avg", "0.exp_avg_sq" (float32, or uint8 codes together with "0.exp_avg_absmax" and
  // "0.exp_avg_sq_absmax"), "0.step", "1.…". They share memory with the optimizer.
  OptimizerState state() const;
  // As AdamW::load_state.
  void load_state(const OptimizerState& state);

  // Tensors whose states are paged.
  int64_t num_paged() const;

 private:
  struct Moment {
    at::Tensor values{};  // like the parameter: uint8 codes, or float32 in a small tensor
    at::Tensor absmax{};  // [blocks] float32; [0] in a small tensor
  };
  struct Moments {
    Moment exp_avg{};
    Moment exp_avg_sq{};
    int64_t num_steps = 0;
    bool paged = false;  // values stay where they are; they are copied into
    bool quantized() const { return exp_avg.values.scalar_type() == at::kByte; }
  };
  static Moment zero_moment(const at::Tensor& parameter, bool paged);
  static void put(Moment& moment, const at::Tensor& values, const at::Tensor& absmax, bool paged);
  static Moment taken(const SavedState& saved, const std::string& name, const Moment& like,
                      bool nonnegative);
  void update_quantized(const at::Tensor& parameter, Moments& moments, double learning_rate) const;
  void update_small(const at::Tensor& parameter, Moments& moments, double learning_rate) const;

  std::vector<at::Tensor> parameters_;
  AdamWConfig config_;
  std::vector<Moments> moments_;
};

}  // namespace leash
