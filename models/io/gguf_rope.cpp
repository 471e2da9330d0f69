// Rotary positions from GGUF metadata.
#include "models/io/gguf_rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "models/printable.h"

namespace leash {

namespace {

constexpr double kGgufTheta = 10000.0;

// llama.cpp takes a factor without a type for a linear one; factors 0 and 1 mean none.
void read_metadata_scaling(const GgufFile& file, const std::string& prefix, RopeConfig& rope) {
  const auto type = file.string_value(prefix + "rope.scaling.type").value_or("linear");
  if (type == "none") return;
  if (type != "linear") {
    file.fail(fmt::format("rope scaling '{}' is not supported (none, linear, and Llama 3's)",
                          printable(type)));
  }
  auto factor = file.float_value(prefix + "rope.scaling.factor");
  if (!factor) factor = file.float_value(prefix + "rope.scale_linear");
  if (!factor || *factor == 0 || *factor == 1) return;
  rope.scaling = RopeScaling::linear;
  rope.factor = *factor;
}

// What Llama 3's scaling divides frequency i by.
double llama3_divisor(const RopeConfig& rope, int64_t i) {
  const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(rope.rotary_dim);
  const double wavelength = 2 * std::numbers::pi * std::pow(rope.theta, exponent);
  const auto original = static_cast<double>(rope.original_max_positions);
  if (wavelength < original / rope.high_freq_factor) return 1;
  if (wavelength > original / rope.low_freq_factor) return rope.factor;
  const double smooth = (original / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return 1 / ((1 - smooth) / rope.factor + smooth);
}

// The converter stores only the divisors. The published models use two factors and one set of other
// constants; that they are meant is verified entry by entry.
void read_divisors(const GgufFile& file, RopeConfig& rope) {
  const auto shape = file.shape(kRopeDivisors);
  if (shape != std::vector<int64_t>{rope.rotary_dim / 2}) {
    file.fail(fmt::format("{} must have {} entries", kRopeDivisors, rope.rotary_dim / 2));
  }
  const at::Tensor tensor = file.read(kRopeDivisors, at::kDouble);
  const auto* divisors = tensor.const_data_ptr<double>();
  const auto count = tensor.numel();
  if (std::all_of(divisors, divisors + count, [](double divisor) { return divisor == 1; })) return;
  RopeConfig candidate = rope;
  candidate.scaling = RopeScaling::llama3;
  candidate.factor = *std::max_element(divisors, divisors + count);
  bool matches = rope.scaling == RopeScaling::none && std::isfinite(candidate.factor);
  for (int64_t i = 0; i < count; ++i) {
    const double expected = llama3_divisor(candidate, i);
    matches = matches && std::abs(divisors[i] - expected) <= 1e-5 * expected;
  }
  if (!matches) {
    file.fail(fmt::format("{} holds a rope scaling that is not Llama 3's and not supported",
                          kRopeDivisors));
  }
  rope = candidate;
}

}  // namespace

RopeConfig rope_from_gguf(const GgufFile& file, std::string_view architecture, int64_t head_dim) {
  const std::string prefix = std::string(architecture) + ".";
  RopeConfig rope;
  rope.theta = file.float_value(prefix + "rope.freq_base").value_or(kGgufTheta);
  rope.rotary_dim = file.int_value(prefix + "rope.dimension_count").value_or(head_dim);
  if (rope.rotary_dim != head_dim || head_dim <= 0 || head_dim % 2 != 0) {
    file.fail(fmt::format("rotating {} of a head's {} entries is not supported", rope.rotary_dim,
                          head_dim));
  }
  read_metadata_scaling(file, prefix, rope);
  if (file.contains(kRopeDivisors)) read_divisors(file, rope);
  return rope;
}

}  // namespace leash
