#include "models/decoder/decoder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "models/attention/attention.h"
#include "models/attention/rope.h"
#include "models/decoder/decoder_weights.h"
#include "models/decoder/mlp.h"
#include "models/decoder/norm.h"
#include "models/decoder/recompute.h"
#include "models/device/device.h"
#include "models/io/checkpoint.h"
#include "models/lora/adapted_linear.h"
#include "models/lora/leaf_gradient.h"
#include "models/random/random.h"
#include "models/vocabulary/cross_entropy.h"
#include "models/vocabulary/vocabulary.h"
#include "models/weights/gather_queue.h"

namespace leash {
namespace {

bool any_copy(int64_t module, const AdapterRows& adapters) {
  return std::ranges::any_of(adapters.ranges, [&](const AdapterRows::Range& range) {
    return range.adapter != nullptr && range.adapter->weight_copy(module) != nullptr;
  });
}

// Applies operation(rows, copy) range by range where an adapter has a copy of the module's weight,
// else once; without a copy it gets nullptr.
template <class Operation>
at::Tensor by_range(const at::Tensor& x, int64_t module, const AdapterRows& adapters,
                    const Operation& operation) {
  if (!any_copy(module, adapters)) return operation(x, nullptr);
  std::vector<at::Tensor> outputs;
  int64_t row = 0;
  for (const AdapterRows::Range& range : adapters.ranges) {
    const int64_t rows = range.num_rows < 0 ? x.size(0) - row : range.num_rows;
    outputs.push_back(operation(x.narrow(0, row, rows), range.adapter != nullptr
                                                            ? range.adapter->weight_copy(module)
                                                            : nullptr));
    row += rows;
  }
  if (row < x.size(0)) outputs.push_back(operation(x.narrow(0, row, x.size(0) - row), nullptr));
  return at::cat(outputs);
}

// [tokens, hidden]: each sequence's from a key of its own, so that neighbours do not matter.
at::Tensor embedding_noise(const EmbeddingNoise& noise, const PackedTokens& tokens,
                           const at::Tensor& like) {
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i < tokens.lengths.size(); ++i) {
    const double magnitude = noise.magnitudes.at(i);
    parts.push_back(uniform_tensor({noise.seed, Purpose::noise, noise.step, noise.samples.at(i)},
                                   {tokens.lengths[i], like.size(1)}, -magnitude, magnitude,
                                   like.device()));
  }
  return at::cat(parts).to(like.scalar_type());
}

}  // namespace

struct Decoder::State : DecoderWeights {
  State(DecoderConfig config_, const LoadOptions& options, DecoderWeights weights)
      : DecoderWeights(std::move(weights)),
        config(std::move(config_)),
        dtype(options.dtype),
        device(options.device),
        gathers(options.gathers),
        rope(config.rope, config.max_positions, options.device) {}

  DecoderConfig config;
  at::ScalarType dtype;
  at::Device device;
  std::shared_ptr<GatherQueue> gathers;  // nullptr: all weights are here
  GrowingRopeTable rope;

  HeadShape head_shape() const { return {config.num_heads, config.num_kv_heads, config.head_dim}; }

  at::Tensor norm(const at::Tensor& x, const NormWeight& norm, const AdapterRows& adapters) const {
    return by_range(x, norm.module, adapters, [&](const at::Tensor& rows, const at::Tensor* copy) {
      return rms_norm(rows, copy != nullptr ? *copy : norm.weight, config.norm_epsilon);
    });
  }

  at::Tensor attention(const at::Tensor& x, const BlockWeights& block, int64_t layer,
                       const PackedTokens& tokens, const AttentionPlan& plan,
                       const AdapterRows& adapters, const ForwardOptions& options) const {
    const at::Tensor qkv = adapted_linear(x, block.qkv, adapters, options.dropout, &tokens.lengths);
    if (options.cache == nullptr) {
      return packed_self_attention(qkv, tokens.positions, rope.table(), head_shape(),
                                   tokens.lengths, tokens.prefixes, plan);
    }
    const QueryKeyValue heads =
        split_and_rotate(qkv, tokens.positions, rope.table(), config.num_heads, config.num_kv_heads,
                         config.head_dim);
    const CachedLayer cached = options.cache->append(layer, heads.key, heads.value, tokens.lengths);
    const bool fresh = std::ranges::all_of(*cached.past, [](int64_t past) { return past == 0; });
    if (fresh && plan.made && !x.is_cpu())
      return varlen_attention(heads.query, heads.key, heads.value, plan.varlen);
    if (fresh) return packed_attention(heads.query, heads.key, heads.value, tokens.lengths);
    return cached_attention(heads.query, cached, tokens.lengths);
  }

  at::Tensor run_block(at::Tensor hidden, int64_t layer, const PackedTokens& tokens,
                       const AttentionPlan& plan, const AdapterRows& adapters,
                       const ForwardOptions& options) const {
    const BlockWeights& block = blocks[layer];
    const at::Tensor attended = attention(norm(hidden, block.input_norm, adapters), block, layer,
                                          tokens, plan, adapters, options);
    hidden = hidden.add(adapted_linear(attended, block.attention_output, adapters, options.dropout,
                                       &tokens.lengths));
    const at::Tensor gate_up = adapted_linear(norm(hidden, block.mlp_norm, adapters), block.gate_up,
                                              adapters, options.dropout, &tokens.lengths);
    return hidden.add(adapted_linear(gated_activation(gate_up, config.activation), block.down,
                                     adapters, options.dropout, &tokens.lengths));
  }

  // The leaves that a block reads, for recomputation.
  static std::vector<at::Tensor> block_parameters(const BlockWeights& block,
                                                  const AdapterRows& adapters) {
    std::vector<at::Tensor> parameters;
    const auto push = [&parameters](const at::Tensor& tensor) {
      if (tensor.requires_grad()) parameters.push_back(tensor);
    };
    for (const AdapterRows::Range& range : adapters.ranges) {
      if (range.adapter == nullptr) continue;
      for (const int64_t module : block.modules) {
        if (const LoraWeights* lora = range.adapter->lora(module)) {
          push(lora->a);
          push(lora->b);
        }
        if (const at::Tensor* weight = range.adapter->weight_copy(module)) push(*weight);
        if (const at::Tensor* bias = range.adapter->bias_copy(module)) push(*bias);
      }
    }
    return parameters;
  }
};

Decoder::Decoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decoder::~Decoder() = default;

std::shared_ptr<const Decoder> Decoder::load(const Checkpoint& checkpoint,
                                             const LoadOptions& options) {
  auto state = std::make_unique<State>(checkpoint.config, options,
                                       load_decoder_weights(checkpoint, options));
  return std::shared_ptr<const Decoder>(new Decoder(std::move(state)));
}

std::shared_ptr<const Decoder> Decoder::load(const Checkpoint& checkpoint, at::ScalarType dtype,
                                             Quantize quantize) {
  return load(checkpoint, {.dtype = dtype, .quantize = quantize});
}

const DecoderConfig& Decoder::config() const { return state_->config; }
at::ScalarType Decoder::dtype() const { return state_->dtype; }
at::Device Decoder::device() const { return state_->device; }
const std::vector<ModuleInfo>& Decoder::modules() const { return state_->modules; }
const BaseIdentity& Decoder::identity() const { return state_->identity; }
int64_t Decoder::num_parameters() const { return state_->num_parameters; }

int64_t Decoder::weight_bytes() const { return state_->bytes(); }
bool Decoder::sharded() const { return state_->gathers != nullptr; }
std::string Decoder::weights_digest() const { return state_->digest(); }
at::Tensor Decoder::base_value(int64_t module, bool bias) const {
  return state_->value(module, bias);
}

at::Tensor Decoder::forward(const PackedTokens& given, const AdapterRows& adapters,
                            const ForwardOptions& options) const {
  TORCH_CHECK(given.ids.dim() == 1 && given.ids.sizes() == given.positions.sizes(),
              "forward: ids and positions are [tokens]");
  // Positions that are on a device already are not read, which would wait for it.
  const int64_t last = given.positions.is_cpu() ? given.positions.max().item<int64_t>()
                                                : state_->config.max_positions - 1;
  PackedTokens tokens = given;
  tokens.ids = on_device(given.ids, state_->device);
  tokens.positions = on_device(given.positions, state_->device);
  TORCH_CHECK(last < state_->config.max_positions, "forward: a position of ", last,
              " is beyond the context of ", state_->config.max_positions);
  TORCH_CHECK(options.cache == nullptr || tokens.prefixes.empty(),
              "forward: sequences that share a prefix have no cache");
  state_->rope.cover(last + 1);
  if (state_->gathers != nullptr) state_->gathers->begin_pass();
  at::Tensor hidden = by_range(tokens.ids, state_->embedding_module, adapters,
                               [this](const at::Tensor& ids, const at::Tensor* copy) {
                                 const at::Tensor rows = copy != nullptr
                                                             ? trained_rows(*copy, ids)
                                                             : state_->embedding->rows(ids);
                                 return rows.to(state_->dtype);
                               });
  if (options.noise != nullptr)
    hidden = hidden.add(embedding_noise(*options.noise, tokens, hidden));
  // Decoding steps attend through the cache alone.
  const bool decodes = options.cache != nullptr &&
                       std::ranges::all_of(tokens.lengths, [](int64_t rows) { return rows == 1; });
  const AttentionPlan plan = decodes ? AttentionPlan{}
                                     : attention_plan(tokens.lengths, tokens.prefixes,
                                                      hidden.options(), state_->head_shape());
  for (int64_t layer = 0; layer < state_->config.num_layers; ++layer) {
    if (!options.recompute_blocks || options.cache != nullptr || !c10::GradMode::is_enabled()) {
      hidden = state_->run_block(hidden, layer, tokens, plan, adapters, options);
      continue;
    }
    // Everything is captured by value: the backward pass runs after the caller's tokens and options
    // are gone.
    const auto dropout =
        options.dropout != nullptr ? std::make_shared<DropoutKey>(*options.dropout) : nullptr;
    const auto block = [state = state_.get(), layer, tokens, plan, adapters,
                        dropout](const at::Tensor& x) {
      return state->run_block(x, layer, tokens, plan, adapters, {.dropout = dropout.get()});
    };
    hidden = recomputed(block, hidden, State::block_parameters(state_->blocks[layer], adapters));
  }
  return state_->norm(hidden, state_->final_norm, adapters);
}

at::Tensor Decoder::logits(const at::Tensor& hidden, const AdapterRows& adapters) const {
  const at::Tensor logits = adapted_linear(hidden, state_->head, adapters);
  return logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
}

TokenScores Decoder::token_scores(const at::Tensor& hidden, const at::Tensor& targets,
                                  double temperature, const AdapterRows& adapters) const {
  return vocabulary_scores(hidden, state_->head, targets, temperature, adapters);
}

CrossEntropy Decoder::cross_entropy(const at::Tensor& hidden, const at::Tensor& targets,
                                    double label_smoothing, double normalizer,
                                    const AdapterRows& adapters) const {
  return vocabulary_cross_entropy(hidden, state_->head, targets, label_smoothing, normalizer,
                                  adapters);
}

at::Tensor Decoder::exact_kl(const at::Tensor& hidden, const AdapterRows& adapters,
                             const at::Tensor& reference_hidden,
                             const AdapterRows& reference_adapters, double temperature) const {
  return exact_kl(hidden, adapters, *this, reference_hidden, reference_adapters, temperature);
}

at::Tensor Decoder::exact_kl(const at::Tensor& hidden, const AdapterRows& adapters,
                             const Decoder& reference, const at::Tensor& reference_hidden,
                             const AdapterRows& reference_adapters, double temperature) const {
  return vocabulary_kl(hidden, state_->head, adapters, reference_hidden, reference.state_->head,
                       reference_adapters, temperature);
}

}  // namespace leash
