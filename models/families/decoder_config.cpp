// The sanity of a decoder's facts, whatever file they came from.
#include "models/families/decoder_config.h"

#include <fmt/format.h>

#include <cmath>

#include "models/errors.h"
#include "models/families/config_steps.h"

namespace leash {

namespace {

// Far above anything that exists, low enough that products of sizes never overflow.
constexpr int64_t kMaxSize = int64_t{1} << 24;
// Positions are exact in fp32 up to here, and a table of angles for each still fits into memory.
constexpr int64_t kMaxPositions = int64_t{1} << 24;

class Checker {
 public:
  explicit Checker(const std::string& origin) : origin_(origin) {}

  void require(bool holds, const std::string& what) const {
    if (!holds) throw FormatError(origin_ + ": " + what);
  }
  void within(const char* name, int64_t value, int64_t max) const {
    require(value >= 1 && value <= max,
            fmt::format("{} is {}, it must be between 1 and {}", name, value, max));
  }
  void positive(const char* name, double value) const {
    require(std::isfinite(value) && value > 0,
            fmt::format("{} is {}, it must be positive", name, value));
  }

 private:
  const std::string& origin_;
};

void check_sizes(const DecoderConfig& config, const Checker& checker) {
  checker.within("the vocabulary's size", config.vocab_size, kMaxSize);
  checker.within("the hidden size", config.hidden_size, kMaxSize);
  checker.within("the MLP's size", config.intermediate_size, kMaxSize);
  checker.within("the number of layers", config.num_layers, kMaxLayers);
  checker.within("the number of heads", config.num_heads, kMaxSize);
  checker.within("the number of key-value heads", config.num_kv_heads, config.num_heads);
  checker.within("the size of a head", config.head_dim, kMaxSize / config.num_heads);
  checker.within("the context", config.max_positions, kMaxPositions);
  checker.require(config.num_heads % config.num_kv_heads == 0,
                  fmt::format("{} heads cannot share {} key-value heads evenly", config.num_heads,
                              config.num_kv_heads));
  checker.require(config.num_labels >= 0 && config.num_labels <= kMaxSize,
                  fmt::format("{} labels", config.num_labels));
}

void check_llama3(const RopeConfig& rope, const Checker& checker) {
  checker.positive("low_freq_factor", rope.low_freq_factor);
  checker.require(
      std::isfinite(rope.high_freq_factor) && rope.high_freq_factor > rope.low_freq_factor,
      fmt::format("high_freq_factor is {}, it must be above low_freq_factor ({})",
                  rope.high_freq_factor, rope.low_freq_factor));
}

void check_yarn(const RopeConfig& rope, const Checker& checker) {
  checker.positive("beta_slow", rope.beta_slow);
  checker.require(std::isfinite(rope.beta_fast) && rope.beta_fast >= rope.beta_slow,
                  fmt::format("beta_fast is {}, it must not be below beta_slow ({})",
                              rope.beta_fast, rope.beta_slow));
  checker.require(rope.theta != 1.0, "rope theta is 1, which YaRN cannot scale");
}

void check_longrope(const RopeConfig& rope, const Checker& checker) {
  checker.require(static_cast<int64_t>(rope.factors.size()) == rope.rotary_dim / 2,
                  fmt::format("short_factor has {} entries, {} are needed", rope.factors.size(),
                              rope.rotary_dim / 2));
  for (const double factor : rope.factors) checker.positive("an entry of short_factor", factor);
}

void check_rope(const RopeConfig& rope, int64_t head_dim, const Checker& checker) {
  checker.require(
      rope.rotary_dim >= 2 && rope.rotary_dim <= head_dim && rope.rotary_dim % 2 == 0,
      fmt::format("{} of a head's {} entries cannot be rotated", rope.rotary_dim, head_dim));
  checker.positive("rope theta", rope.theta);
  if (rope.scaling == RopeScaling::none) return;
  checker.positive("the rope scaling's factor", rope.factor);
  if (rope.scaling == RopeScaling::linear) return;
  checker.within("original_max_position_embeddings", rope.original_max_positions, kMaxPositions);
  checker.positive("the rope scaling's attention_factor", rope.attention_factor);
  if (rope.scaling == RopeScaling::llama3) check_llama3(rope, checker);
  if (rope.scaling == RopeScaling::yarn) check_yarn(rope, checker);
  if (rope.scaling == RopeScaling::longrope) check_longrope(rope, checker);
}

void check_positions(const DecoderConfig& config, const Checker& checker) {
  if (config.positions == PositionKind::rotary) check_rope(config.rope, config.head_dim, checker);
  if (config.local_rope) check_rope(*config.local_rope, config.head_dim, checker);
  checker.require(
      config.layers.empty() || static_cast<int64_t>(config.layers.size()) == config.num_layers,
      fmt::format("facts of {} layers of {}", config.layers.size(), config.num_layers));
  for (const LayerFacts& layer : config.layers) {
    checker.require(layer.window >= 0, fmt::format("a window of {} positions", layer.window));
    checker.require(layer.rope != LayerRope::local || config.local_rope.has_value(),
                    "a layer rotates locally, but how is not said");
  }
}

void check_scales(const DecoderConfig& config, const Checker& checker) {
  checker.positive("the embedding's scale", config.embedding_scale);
  checker.positive("the residual's scale", config.residual_scale);
  checker.positive("the logits' scale", config.logit_scale);
  const auto none_or_positive = [&](const char* name, double value) {
    checker.require(std::isfinite(value) && value >= 0,
                    fmt::format("{} is {}, it must be positive", name, value));
  };
  none_or_positive("the attention's scale", config.attention_scale);
  none_or_positive("the attention's soft cap", config.attention_softcap);
  none_or_positive("the logits' soft cap", config.logit_softcap);
}

void check_token(const char* name, int64_t id, int64_t vocab_size, const Checker& checker) {
  checker.require(id >= 0 && id < vocab_size,
                  fmt::format("{} is {}, outside of the vocabulary of {}", name, id, vocab_size));
}

}  // namespace

void check(const DecoderConfig& config, const std::string& origin) {
  const Checker checker(origin);
  check_sizes(config, checker);
  checker.positive("the norm's epsilon", config.norm_epsilon);
  checker.require(std::isfinite(config.initializer_range) && config.initializer_range >= 0,
                  fmt::format("initializer_range is {}", config.initializer_range));
  check_positions(config, checker);
  check_scales(config, checker);
  for (const int64_t id : config.eos_token_ids) {
    check_token("eos_token_id", id, config.vocab_size, checker);
  }
  if (config.bos_token_id) {
    check_token("bos_token_id", *config.bos_token_id, config.vocab_size, checker);
  }
  if (config.pad_token_id) {
    check_token("pad_token_id", *config.pad_token_id, config.vocab_size, checker);
  }
}

}  // namespace leash
