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
constexpr int64_t kLlama3Original = 8192;

// YaRN as llama.cpp computes it for these architectures: its own bounds of the ramp, attention
// sharpened by 0.1 ln(factor) + 1 (Peng et al. 2023, section 3.4).
void read_yarn(const GgufMetadata& metadata, double factor, RopeConfig& rope) {
  rope.scaling = RopeScaling::yarn;
  rope.factor = factor;
  rope.attention_factor = factor <= 1 ? 1.0 : 0.1 * std::log(factor) + 1.0;
  // What converters write and llama.cpp does not read here.
  constexpr double kPrecision = 1e-6;
  const double said =
      metadata.number("rope.scaling.yarn_attn_factor").value_or(rope.attention_factor);
  if (std::abs(said - rope.attention_factor) > kPrecision) {
    metadata.file().fail(fmt::format(
        "rope.scaling.yarn_attn_factor is {}, other than 0.1 ln(factor) + 1 is not supported",
        said));
  }
}

// The short factors hold up to the original length, which ends the context here.
void read_longrope(const GgufMetadata& metadata, RopeConfig& rope, int64_t& max_positions) {
  const GgufFile& file = metadata.file();
  if (!file.contains(kShortFactors)) file.fail(fmt::format("there is no tensor {}", kShortFactors));
  const at::Tensor factors = file.read(kShortFactors, at::kDouble).contiguous();
  const double* values = factors.const_data_ptr<double>();
  rope.scaling = RopeScaling::longrope;
  rope.factors.assign(values, values + factors.numel());
  rope.attention_factor = metadata.number("rope.scaling.attn_factor").value_or(1.0);
  max_positions = std::min(max_positions, rope.original_max_positions);
}

// llama.cpp takes a factor without a type for a linear one; factors 0 and 1 mean none.
void read_metadata_scaling(const GgufMetadata& metadata, RopeConfig& rope, int64_t& max_positions) {
  const auto type = metadata.text("rope.scaling.type").value_or("linear");
  auto factor = metadata.number("rope.scaling.factor");
  if (!factor) factor = metadata.number("rope.scale_linear");
  const auto original = metadata.integer("rope.scaling.original_context_length");
  rope.original_max_positions = original.value_or(max_positions);
  // phi3's converter writes longrope's tensors, and older ones no type.
  if (type == "longrope" || metadata.file().contains(kShortFactors)) {
    return read_longrope(metadata, rope, max_positions);
  }
  if (type != "none" && type != "linear" && type != "yarn") {
    metadata.file().fail(
        fmt::format("rope scaling '{}' is not supported (none, linear, yarn, "
                    "longrope, and Llama 3's)",
                    printable(type)));
  }
  if (type == "none" || !factor || *factor == 0) return;
  if (type == "yarn") return read_yarn(metadata, *factor, rope);
  if (*factor == 1) return;
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

// The converter stores only the divisors. Those of the published models (two factors, one set of
// other constants) are Llama 3's by name, verified entry by entry; all others stay a list.
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
  candidate.original_max_positions = kLlama3Original;
  candidate.low_freq_factor = 1.0;
  candidate.high_freq_factor = 4.0;
  candidate.factor = *std::max_element(divisors, divisors + count);
  bool matches = rope.scaling == RopeScaling::none && std::isfinite(candidate.factor);
  for (int64_t i = 0; i < count; ++i) {
    const double expected = llama3_divisor(candidate, i);
    matches = matches && std::abs(divisors[i] - expected) <= 1e-5 * expected;
  }
  if (matches) {
    rope = candidate;
    return;
  }
  if (rope.scaling != RopeScaling::none) {
    file.fail(
        fmt::format("{} beside a rope scaling in the metadata is not supported", kRopeDivisors));
  }
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(divisors[i]) || divisors[i] <= 0) {
      file.fail(fmt::format("{} holds {}", kRopeDivisors, divisors[i]));
    }
  }
  // Constants of somebody's own: frequencies that are divided by these, whatever they come from.
  rope.scaling = RopeScaling::longrope;
  rope.factors.assign(divisors, divisors + count);
}

}  // namespace

std::vector<double> llama3_divisors(const RopeConfig& rope) {
  std::vector<double> divisors;
  for (int64_t i = 0; i < rope.rotary_dim / 2; ++i) divisors.push_back(llama3_divisor(rope, i));
  return divisors;
}

RopeConfig rope_from_gguf(const GgufMetadata& metadata, int64_t head_dim, int64_t& max_positions) {
  const GgufFile& file = metadata.file();
  RopeConfig rope;
  rope.theta = metadata.number("rope.freq_base").value_or(kGgufTheta);
  rope.rotary_dim = metadata.integer("rope.dimension_count").value_or(head_dim);
  if (head_dim <= 0 || rope.rotary_dim <= 0 || rope.rotary_dim > head_dim ||
      rope.rotary_dim % 2 != 0) {
    file.fail(fmt::format("rotating {} of a head's {} entries is not supported", rope.rotary_dim,
                          head_dim));
  }
  read_metadata_scaling(metadata, rope, max_positions);
  if (file.contains(kRopeDivisors)) read_divisors(file, rope);
  return rope;
}

}  // namespace leash
