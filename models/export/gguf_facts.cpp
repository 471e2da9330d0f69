#include "models/export/gguf_facts.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "models/io/gguf_rope.h"

namespace leash {
namespace {

// Keys of one architecture.
class FactWriter {
 public:
  FactWriter(const DecoderConfig& config, const GgufArchitecture& architecture, GgufWriter& writer)
      : config_(config),
        architecture_(architecture.name),
        prefix_(architecture_ + "."),
        writer_(writer) {}

  void write() {
    set_sizes();
    if (config_.positions == PositionKind::rotary) set_rope();
    set_windows();
    set_own();
  }

 private:
  void u32(const char* name, int64_t value) { writer_.u32(prefix_ + name, value); }
  void f32(const char* name, double value) { writer_.f32(prefix_ + name, value); }

  void set_sizes() {
    u32("vocab_size", config_.vocab_size);
    u32("context_length", config_.max_positions);
    u32("embedding_length", config_.hidden_size);
    u32("block_count", config_.num_layers);
    u32("feed_forward_length", config_.intermediate_size);
    u32("attention.head_count", config_.num_heads);
    u32("attention.head_count_kv", config_.num_kv_heads);
    u32("attention.key_length", config_.head_dim);
    u32("attention.value_length", config_.head_dim);
    f32(config_.norm == NormKind::rms ? "attention.layer_norm_rms_epsilon"
                                      : "attention.layer_norm_epsilon",
        config_.norm_epsilon);
  }

  void set_rope() {
    const RopeConfig& rope = config_.rope;
    u32("rope.dimension_count", rope.rotary_dim);
    f32("rope.freq_base", rope.theta);
    if (config_.local_rope) f32("rope.freq_base_swa", config_.local_rope->theta);
    if (rope.scaling == RopeScaling::linear || rope.scaling == RopeScaling::yarn) {
      const bool yarn = rope.scaling == RopeScaling::yarn;
      writer_.string(prefix_ + "rope.scaling.type", yarn ? "yarn" : "linear");
      f32("rope.scaling.factor", rope.factor);
      if (yarn) u32("rope.scaling.original_context_length", rope.original_max_positions);
    }
    if (rope.scaling == RopeScaling::llama3) {
      const std::vector<double> divisors = llama3_divisors(rope);
      writer_.tensor(kRopeDivisors, {std::ssize(divisors)}, BlockType::f32, [divisors] {
        return at::tensor(std::vector<float>(divisors.begin(), divisors.end()));
      });
    }
  }

  // One width for all layers that slide; which those are is the architecture's own, or a list.
  void set_windows() {
    const auto slides = [](const LayerFacts& layer) {
      return layer.window > 0 || layer.rope == LayerRope::local;
    };
    if (std::ranges::none_of(config_.layers, slides)) return;
    int64_t window = 0;
    std::vector<bool> sliding;
    for (const LayerFacts& layer : config_.layers) {
      sliding.push_back(slides(layer));
      window = std::max(window, layer.window);
    }
    u32("attention.sliding_window", window > 0 ? window : config_.max_positions);
    // Older builds of llama.cpp know each architecture's own pattern alone.
    const int64_t pattern = architecture_ == "gemma2" ? 2 : architecture_ == "gemma3" ? 6 : 0;
    bool usual = true;
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      usual =
          usual && (pattern == 0 || sliding[static_cast<size_t>(i)] == ((i + 1) % pattern != 0));
    }
    if (!usual) writer_.booleans(prefix_ + "attention.sliding_window_pattern", sliding);
  }

  void set_own() {
    if (config_.attention_softcap != 0) f32("attn_logit_softcapping", config_.attention_softcap);
    if (config_.logit_softcap != 0) f32("final_logit_softcapping", config_.logit_softcap);
    if (architecture_ == "gptneox") {
      writer_.boolean(prefix_ + "use_parallel_residual", config_.parallel_residual);
    }
    if (architecture_ == "falcon") writer_.string(prefix_ + "tensor_data_layout", "jploski");
    if (architecture_ == "granite") {
      f32("logit_scale", 1.0 / config_.logit_scale);
      f32("residual_scale", config_.residual_scale);
      f32("embedding_scale", config_.embedding_scale);
      if (config_.attention_scale != 0) f32("attention.scale", config_.attention_scale);
    }
  }

  const DecoderConfig& config_;
  std::string architecture_;
  std::string prefix_;
  GgufWriter& writer_;
};

}  // namespace

void set_gguf_facts(const DecoderConfig& config, const GgufArchitecture& architecture,
                    GgufWriter& writer) {
  FactWriter(config, architecture, writer).write();
}

}  // namespace leash
