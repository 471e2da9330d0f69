#include "models/decoder/decoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "models/decoder/block.h"
#include "models/decoder/decoder_weights.h"
#include "models/decoder/layer_attention.h"
#include "models/decoder/recompute.h"
#include "models/decoder/rows_by_adapter.h"
#include "models/decoder/shared_decoders.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "models/lora/leaf_gradient.h"
#include "models/random/random.h"
#include "models/vocabulary/cross_entropy.h"
#include "models/vocabulary/distribution_terms.h"
#include "models/vocabulary/vocabulary.h"
#include "models/vocabulary/vocabulary_chunks.h"
#include "models/weights/gather_queue.h"

namespace leash {
namespace {

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
        dtype(activation_type(options.dtype, options.device)),
        weight_dtype(options.dtype),
        device(options.device),
        gathers(options.gathers),
        attention(config, options.device) {}

  DecoderConfig config;
  at::ScalarType dtype, weight_dtype;
  at::Device device;
  std::shared_ptr<GatherQueue> gathers;  // nullptr: all weights are here
  LayerAttention attention;

  // What goes into the first block, [tokens, hidden].
  at::Tensor embed(const PackedTokens& tokens, const AdapterRows& adapters,
                   const EmbeddingNoise* noise) const {
    at::Tensor hidden = looked_up(*embedding, tokens.ids, embedding_module, adapters);
    if (config.embedding_scale != 1.0) hidden = hidden.mul(rounded(config.embedding_scale));
    if (noise != nullptr) {
      if (config.embedding_scale != 1.0) {
        throw ConfigError("noise on embeddings that the model scales is not supported");
      }
      hidden = hidden.add(embedding_noise(*noise, tokens, hidden));
    }
    if (positions != nullptr) {
      const at::Tensor places = config.position_offset == 0
                                    ? tokens.positions
                                    : tokens.positions.add(config.position_offset);
      hidden = hidden.add(looked_up(*positions, places, positions_module, adapters));
    }
    return embedding_norm.there() ? normalised(hidden, embedding_norm, config, adapters) : hidden;
  }

  at::Tensor looked_up(const WeightSource& table, const at::Tensor& ids, int64_t module,
                       const AdapterRows& adapters) const {
    return by_range(ids, module, adapters, [&](const at::Tensor& rows, const ModuleCopies& copies) {
      const at::Tensor found =
          copies.weight != nullptr ? trained_rows(*copies.weight, rows) : table.rows(rows);
      return found.to(dtype);
    });
  }

  // In the type of the model.
  double rounded(double value) const {
    return at::scalar_tensor(value, at::TensorOptions(dtype)).item<double>();
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
  return SharedDecoders::get(checkpoint, options, [&] {
    auto state = std::make_unique<State>(checkpoint.config, options,
                                         load_decoder_weights(checkpoint, options));
    return std::shared_ptr<const Decoder>(new Decoder(std::move(state)));
  });
}

std::shared_ptr<const Decoder> Decoder::load(const Checkpoint& checkpoint, at::ScalarType dtype,
                                             Quantize quantize) {
  return load(checkpoint, {.dtype = dtype, .quantize = quantize});
}

const DecoderConfig& Decoder::config() const { return state_->config; }
at::ScalarType Decoder::dtype() const { return state_->dtype; }
at::ScalarType Decoder::weight_dtype() const { return state_->weight_dtype; }
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
  state_->attention.cover(last + 1);
  if (state_->gathers != nullptr) state_->gathers->begin_pass();
  at::Tensor hidden = state_->embed(tokens, adapters, options.noise);
  // Decoding steps attend through the cache alone.
  const bool decodes = options.cache != nullptr &&
                       std::ranges::all_of(tokens.lengths, [](int64_t rows) { return rows == 1; });
  const AttentionPlan plan = decodes ? AttentionPlan{}
                                     : attention_plan(tokens.lengths, tokens.prefixes,
                                                      hidden.options(), state_->attention.shape());
  for (int64_t layer = 0; layer < state_->config.num_layers; ++layer) {
    if (!options.recompute_blocks || options.cache != nullptr || !c10::GradMode::is_enabled()) {
      hidden = run_block(hidden, state_->blocks[layer], layer,
                         {.config = state_->config,
                          .attention = state_->attention,
                          .tokens = tokens,
                          .plan = plan,
                          .adapters = adapters,
                          .dropout = options.dropout,
                          .cache = options.cache});
      continue;
    }
    // Everything is captured by value: the backward pass runs after the caller's tokens and options
    // are gone.
    const auto dropout =
        options.dropout != nullptr ? std::make_shared<DropoutKey>(*options.dropout) : nullptr;
    const auto block = [state = state_.get(), layer, tokens, plan, adapters,
                        dropout](const at::Tensor& x) {
      return run_block(x, state->blocks[layer], layer,
                       {.config = state->config,
                        .attention = state->attention,
                        .tokens = tokens,
                        .plan = plan,
                        .adapters = adapters,
                        .dropout = dropout.get()});
    };
    hidden = recomputed(block, hidden, State::block_parameters(state_->blocks[layer], adapters));
  }
  return normalised(hidden, state_->final_norm, state_->config, adapters);
}

at::Tensor Decoder::logits(const at::Tensor& hidden, const AdapterRows& adapters) const {
  return wide_logits(hidden, state_->head, adapters);
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

at::Tensor Decoder::distribution_terms(const at::Tensor& hidden, const AdapterRows& adapters,
                                       const std::optional<ReferenceStates>& reference,
                                       double temperature) const {
  std::optional<ReferenceRows> rows;
  if (reference) {
    rows = {reference->hidden, reference->decoder.state_->head, reference->adapters};
  }
  return leash::distribution_terms(hidden, state_->head, adapters, rows, temperature);
}

}  // namespace leash
