#include "models/decoder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "models/adapted_linear.h"
#include "models/attention.h"
#include "models/cross_entropy.h"
#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "models/mlp.h"
#include "models/norm.h"
#include "models/quant/load_weight.h"
#include "models/random.h"
#include "models/recompute.h"
#include "models/rope.h"
#include "models/vocabulary.h"

namespace leash {
namespace {

struct Norm {
  at::Tensor weight;  // [hidden]
  int64_t module = 0;
};

struct Block {
  Norm input_norm;
  LinearGroup qkv;
  LinearGroup attention_output;
  Norm mlp_norm;
  LinearGroup gate_up;
  LinearGroup down;
  std::vector<int64_t> modules;  // indices of everything above
};

// Reads checked tensors and gives modules their indices.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, at::ScalarType dtype, Quantize quantize)
      : checkpoint_(checkpoint), dtype_(dtype), quantize_(quantize) {}

  at::Tensor read(const std::string& name, const std::vector<int64_t>& shape) {
    expect(name, shape);
    return checkpoint_.tensors->read(name, dtype_);
  }

  // Matrices of equally many columns, one below the other.
  std::shared_ptr<const WeightSource> weight(const std::vector<std::string>& names,
                                             const std::vector<int64_t>& rows, int64_t columns,
                                             Quantize quantize) {
    for (size_t i = 0; i < names.size(); ++i) expect(names[i], {rows[i], columns});
    return load_weight(*checkpoint_.tensors, names, dtype_, quantize);
  }

  // Embedding and lm_head: only blocks that are there anyway are kept, as bitsandbytes has it.
  std::shared_ptr<const WeightSource> vocabulary(const std::string& name, int64_t vocab,
                                                 int64_t hidden) {
    return weight({name}, {vocab}, hidden,
                  quantize_ == Quantize::keep ? Quantize::keep : Quantize::none);
  }

  int64_t add(ModuleInfo info) {
    modules.push_back(std::move(info));
    return static_cast<int64_t>(modules.size()) - 1;
  }

  Norm norm(const std::string& path, int64_t width) {
    const int64_t module =
        add({.path = path, .kind = ModuleKind::norm, .in_features = width, .out_features = width});
    return {.weight = read(path + ".weight", {width}).clone(), .module = module};
  }

  // Several projections of one input as one product.
  LinearGroup linear(const std::string& prefix,
                     const std::vector<std::pair<std::string, int64_t>>& outputs,
                     int64_t in_features, bool has_bias) {
    LinearGroup group;
    std::vector<std::string> names;
    std::vector<int64_t> rows;
    std::vector<at::Tensor> biases;
    for (const auto& [name, out_features] : outputs) {
      const std::string path = prefix + name;
      names.push_back(path + ".weight");
      rows.push_back(out_features);
      if (has_bias) biases.push_back(read(path + ".bias", {out_features}));
      group.parts.push_back({.module = add({.path = path,
                                            .kind = ModuleKind::linear,
                                            .in_features = in_features,
                                            .out_features = out_features,
                                            .has_bias = has_bias}),
                             .num_columns = out_features});
    }
    group.weight = weight(names, rows, in_features, quantize_);
    if (has_bias) group.bias = at::cat(biases);
    return group;
  }

  std::vector<ModuleInfo> modules;
  int64_t num_parameters = 0;

 private:
  // That the checkpoint has a tensor, in this shape.
  void expect(const std::string& name, const std::vector<int64_t>& shape) {
    if (!checkpoint_.tensors->contains(name)) {
      throw FormatError(fmt::format("{}: has no tensor {}", checkpoint_.path.string(), name));
    }
    const std::vector<int64_t> found = checkpoint_.tensors->shape(name);
    if (found != shape) {
      throw FormatError(fmt::format("{}: {} has shape [{}], but the configuration says [{}]",
                                    checkpoint_.path.string(), name, fmt::join(found, ", "),
                                    fmt::join(shape, ", ")));
    }
    num_parameters += c10::multiply_integers(shape);
  }

  const Checkpoint& checkpoint_;
  at::ScalarType dtype_;
  Quantize quantize_;
};

Block load_block(Loader& loader, const DecoderConfig& config, int64_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const int64_t hidden = config.hidden_size;
  const int64_t queries = config.num_heads * config.head_dim;
  const int64_t keys = config.num_kv_heads * config.head_dim;
  const auto first = static_cast<int64_t>(loader.modules.size());
  Block block;
  block.qkv = loader.linear(prefix + "self_attn.",
                            {{"q_proj", queries}, {"k_proj", keys}, {"v_proj", keys}}, hidden,
                            config.qkv_bias);
  block.attention_output = loader.linear(prefix + "self_attn.", {{"o_proj", hidden}}, queries,
                                         config.attention_output_bias);
  block.gate_up = loader.linear(
      prefix + "mlp.",
      {{"gate_proj", config.intermediate_size}, {"up_proj", config.intermediate_size}}, hidden,
      config.mlp_bias);
  block.down = loader.linear(prefix + "mlp.", {{"down_proj", hidden}}, config.intermediate_size,
                             config.mlp_bias);
  block.input_norm = loader.norm(prefix + "input_layernorm", hidden);
  block.mlp_norm = loader.norm(prefix + "post_attention_layernorm", hidden);
  for (auto module = first; module < static_cast<int64_t>(loader.modules.size()); ++module) {
    block.modules.push_back(module);
  }
  return block;
}

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
                                   {tokens.lengths[i], like.size(1)}, -magnitude, magnitude));
  }
  return at::cat(parts).to(like.scalar_type());
}

uint64_t mix_words(const at::Tensor& tensor, uint64_t digest) {
  const at::Tensor contiguous = tensor.contiguous();
  const auto* bytes = static_cast<const unsigned char*>(contiguous.const_data_ptr());
  const size_t size = contiguous.nbytes();
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i, std::min<size_t>(8, size - i));
    digest = (digest ^ word) * 0x100000001b3ull;
    digest ^= digest >> 29;
  }
  return digest;
}

}  // namespace

struct Decoder::State {
  DecoderConfig config;
  at::ScalarType dtype = at::kFloat;
  std::vector<ModuleInfo> modules;
  int64_t num_parameters = 0;
  std::shared_ptr<const WeightSource> embedding;  // [vocab, hidden]
  int64_t embedding_module = 0;
  std::vector<Block> blocks;
  Norm final_norm;
  LinearGroup head;  // of the vocabulary; the embedding's own weight where they are tied
  RopeTable rope;

  at::Tensor norm(const at::Tensor& x, const Norm& norm, const AdapterRows& adapters) const {
    return by_range(x, norm.module, adapters, [&](const at::Tensor& rows, const at::Tensor* copy) {
      return rms_norm(rows, copy != nullptr ? *copy : norm.weight, config.norm_epsilon);
    });
  }

  at::Tensor attention(const at::Tensor& x, const Block& block, int64_t layer,
                       const PackedTokens& tokens, const AdapterRows& adapters,
                       const ForwardOptions& options) const {
    const at::Tensor qkv = adapted_linear(x, block.qkv, adapters, options.dropout, &tokens.lengths);
    const QueryKeyValue heads = split_and_rotate(qkv, tokens.positions, rope, config.num_heads,
                                                 config.num_kv_heads, config.head_dim);
    if (options.cache == nullptr)
      return packed_attention(heads.query, heads.key, heads.value, tokens.lengths, tokens.prefixes);
    const CachedLayer cached = options.cache->append(layer, heads.key, heads.value, tokens.lengths);
    const bool fresh = std::ranges::all_of(*cached.past, [](int64_t past) { return past == 0; });
    if (fresh) return packed_attention(heads.query, heads.key, heads.value, tokens.lengths);
    return cached_attention(heads.query, cached, tokens.lengths);
  }

  at::Tensor run_block(at::Tensor hidden, int64_t layer, const PackedTokens& tokens,
                       const AdapterRows& adapters, const ForwardOptions& options) const {
    const Block& block = blocks[layer];
    const at::Tensor attended = attention(norm(hidden, block.input_norm, adapters), block, layer,
                                          tokens, adapters, options);
    hidden = hidden.add(adapted_linear(attended, block.attention_output, adapters, options.dropout,
                                       &tokens.lengths));
    const at::Tensor gate_up = adapted_linear(norm(hidden, block.mlp_norm, adapters), block.gate_up,
                                              adapters, options.dropout, &tokens.lengths);
    return hidden.add(adapted_linear(gated_activation(gate_up, config.activation), block.down,
                                     adapters, options.dropout, &tokens.lengths));
  }

  // The leaves that a block reads, for recomputation.
  static std::vector<at::Tensor> block_parameters(const Block& block, const AdapterRows& adapters) {
    std::vector<at::Tensor> parameters;
    for (const AdapterRows::Range& range : adapters.ranges) {
      if (range.adapter == nullptr) continue;
      for (const int64_t module : block.modules) {
        if (const LoraWeights* lora = range.adapter->lora(module)) {
          parameters.push_back(lora->a);
          parameters.push_back(lora->b);
        }
        if (const at::Tensor* weight = range.adapter->weight_copy(module))
          parameters.push_back(*weight);
        if (const at::Tensor* bias = range.adapter->bias_copy(module)) parameters.push_back(*bias);
      }
    }
    return parameters;
  }
};

AdapterRows::AdapterRows(const Adapter* adapter) {
  if (adapter != nullptr) ranges.push_back({.adapter = adapter, .num_rows = -1});
}

PackedTokens pack(std::span<const std::vector<int64_t>> sequences) {
  std::vector<int64_t> ids;
  std::vector<int64_t> positions;
  PackedTokens packed;
  for (const std::vector<int64_t>& sequence : sequences) {
    TORCH_CHECK(!sequence.empty(), "pack: an empty sequence");
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    for (size_t i = 0; i < sequence.size(); ++i) positions.push_back(static_cast<int64_t>(i));
    packed.lengths.push_back(static_cast<int64_t>(sequence.size()));
  }
  packed.ids = at::tensor(ids, at::kLong);
  packed.positions = at::tensor(positions, at::kLong);
  return packed;
}

PackedTokens pack_one(const std::vector<int64_t>& sequence) { return pack({&sequence, 1}); }

Decoder::Decoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decoder::~Decoder() = default;

std::shared_ptr<const Decoder> Decoder::load(const Checkpoint& checkpoint, at::ScalarType dtype,
                                             Quantize quantize) {
  const DecoderConfig& config = checkpoint.config;
  check(config, checkpoint.path.string());
  if (config.norm != NormKind::rms || !config.gated_mlp) {
    throw FormatError(checkpoint.path.string() +
                      ": layer normalisation and plain MLPs are not supported yet");
  }
  if (quantize == Quantize::keep) {
    if (const auto problem = keep_problem(checkpoint)) throw ConfigError(*problem);
  }
  Loader loader(checkpoint, dtype, quantize);
  auto state = std::make_unique<State>();
  state->config = config;
  state->dtype = dtype;
  state->embedding =
      loader.vocabulary("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  state->embedding_module = loader.add({.path = "model.embed_tokens",
                                        .kind = ModuleKind::embedding,
                                        .in_features = config.vocab_size,
                                        .out_features = config.hidden_size});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    state->blocks.push_back(load_block(loader, config, layer));
  }
  state->final_norm = loader.norm("model.norm", config.hidden_size);
  // A sequence-classification checkpoint has no projection onto the vocabulary; the embedding
  // stands in and is never asked.
  const bool own_head =
      !config.tie_word_embeddings && checkpoint.tensors->contains("lm_head.weight");
  if (own_head) {
    state->head.weight = loader.vocabulary("lm_head.weight", config.vocab_size, config.hidden_size);
  } else if (!config.tie_word_embeddings && config.num_labels == 0) {
    throw FormatError(checkpoint.path.string() + ": has no tensor lm_head.weight");
  } else {
    state->head.weight = state->embedding;
  }
  state->head.parts = {{.module = loader.add({.path = "lm_head",
                                              .kind = ModuleKind::linear,
                                              .in_features = config.hidden_size,
                                              .out_features = config.vocab_size}),
                        .num_columns = config.vocab_size}};
  state->modules = std::move(loader.modules);
  state->num_parameters = loader.num_parameters;
  state->rope = rope_table(config.rope, config.max_positions);
  return std::shared_ptr<const Decoder>(new Decoder(std::move(state)));
}

const DecoderConfig& Decoder::config() const { return state_->config; }
at::ScalarType Decoder::dtype() const { return state_->dtype; }
const std::vector<ModuleInfo>& Decoder::modules() const { return state_->modules; }
int64_t Decoder::num_parameters() const { return state_->num_parameters; }

int64_t Decoder::weight_bytes() const {
  auto sum = static_cast<int64_t>(state_->final_norm.weight.nbytes()) + state_->embedding->bytes();
  if (state_->head.weight != state_->embedding) sum += state_->head.weight->bytes();
  for (const Block& block : state_->blocks) {
    sum += static_cast<int64_t>(block.input_norm.weight.nbytes() + block.mlp_norm.weight.nbytes());
    for (const LinearGroup* group :
         {&block.qkv, &block.attention_output, &block.gate_up, &block.down}) {
      sum += group->weight->bytes();
      if (group->bias) sum += static_cast<int64_t>(group->bias->nbytes());
    }
  }
  return sum;
}

at::Tensor Decoder::base_value(int64_t module, bool bias) const {
  const c10::AutoGradMode no_grad(false);
  if (module == state_->embedding_module && !bias) return state_->embedding->dense().clone();
  if (module == state_->final_norm.module && !bias) return state_->final_norm.weight.clone();
  std::vector<const LinearGroup*> groups{&state_->head};
  for (const Block& block : state_->blocks) {
    if (module == block.input_norm.module && !bias) return block.input_norm.weight.clone();
    if (module == block.mlp_norm.module && !bias) return block.mlp_norm.weight.clone();
    groups.insert(groups.end(), {&block.qkv, &block.attention_output, &block.gate_up, &block.down});
  }
  for (const LinearGroup* group : groups) {
    int64_t column = 0;
    for (const LinearPart& part : group->parts) {
      if (part.module == module && (!bias || group->bias)) {
        const at::Tensor values = bias ? *group->bias : group->weight->dense();
        return values.narrow(0, column, part.num_columns).clone();
      }
      column += part.num_columns;
    }
  }
  TORCH_CHECK(false, "base_value: module ", module, " has no such tensor");
}

at::Tensor Decoder::forward(const PackedTokens& tokens, const AdapterRows& adapters,
                            const ForwardOptions& options) const {
  TORCH_CHECK(tokens.ids.dim() == 1 && tokens.ids.sizes() == tokens.positions.sizes(),
              "forward: ids and positions are [tokens]");
  TORCH_CHECK(tokens.positions.max().item<int64_t>() < state_->config.max_positions,
              "forward: a position of ", tokens.positions.max().item<int64_t>(),
              " is beyond the context of ", state_->config.max_positions);
  TORCH_CHECK(options.cache == nullptr || tokens.prefixes.empty(),
              "forward: sequences that share a prefix have no cache");
  at::Tensor hidden = by_range(tokens.ids, state_->embedding_module, adapters,
                               [this](const at::Tensor& ids, const at::Tensor* copy) {
                                 const at::Tensor rows = copy != nullptr
                                                             ? at::embedding(*copy, ids)
                                                             : state_->embedding->rows(ids);
                                 return rows.to(state_->dtype);
                               });
  if (options.noise != nullptr)
    hidden = hidden.add(embedding_noise(*options.noise, tokens, hidden));
  for (int64_t layer = 0; layer < state_->config.num_layers; ++layer) {
    if (!options.recompute_blocks || options.cache != nullptr || !c10::GradMode::is_enabled()) {
      hidden = state_->run_block(hidden, layer, tokens, adapters, options);
      continue;
    }
    // Everything is captured by value: the backward pass runs after the caller's tokens and options
    // are gone.
    const auto dropout =
        options.dropout != nullptr ? std::make_shared<DropoutKey>(*options.dropout) : nullptr;
    const auto block = [state = state_.get(), layer, tokens, adapters,
                        dropout](const at::Tensor& x) {
      return state->run_block(x, layer, tokens, adapters, {.dropout = dropout.get()});
    };
    hidden = recomputed(block, hidden, State::block_parameters(state_->blocks[layer], adapters));
  }
  return state_->norm(hidden, state_->final_norm, adapters);
}

at::Tensor Decoder::logits(const at::Tensor& hidden, const AdapterRows& adapters) const {
  const at::Tensor logits = adapted_linear(hidden, state_->head, adapters);
  return logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
}

Decoder::TokenScores Decoder::token_scores(const at::Tensor& hidden, const at::Tensor& targets,
                                           double temperature, const AdapterRows& adapters) const {
  return vocabulary_scores(hidden, state_->head, targets, temperature, adapters);
}

Decoder::CrossEntropy Decoder::cross_entropy(const at::Tensor& hidden, const at::Tensor& targets,
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

std::string Decoder::weights_digest() const {
  uint64_t digest = 0xcbf29ce484222325ull;
  digest = mix_words(state_->embedding->dense(), digest);
  for (const Block& block : state_->blocks) {
    for (const LinearGroup* group :
         {&block.qkv, &block.attention_output, &block.gate_up, &block.down}) {
      digest = mix_words(group->weight->dense(), digest);
      if (group->bias) digest = mix_words(*group->bias, digest);
    }
    digest = mix_words(block.input_norm.weight, digest);
    digest = mix_words(block.mlp_norm.weight, digest);
  }
  digest = mix_words(state_->final_norm.weight, digest);
  digest = mix_words(state_->head.weight->dense(), digest);
  return fmt::format("{:016x}", digest);
}

}  // namespace leash
