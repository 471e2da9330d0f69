#include "models/decoder/decoder_weights.h"

#include <ATen/ops/cat.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "models/errors.h"
#include "models/quant/byte_tiles.h"
#include "models/weights/sharded_weights.h"

namespace leash {
namespace {

// Reads checked tensors and gives modules their indices.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const LoadOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  at::Tensor read(const std::string& name, const std::vector<int64_t>& shape) {
    expect(name, shape);
    return checkpoint_.tensors->read(name, options_.dtype);
  }

  // Matrices of equally many columns, one below the other.
  std::shared_ptr<const WeightSource> weight(const std::vector<std::string>& names,
                                             const std::vector<int64_t>& rows, int64_t columns,
                                             Quantize quantize) {
    for (size_t i = 0; i < names.size(); ++i) expect(names[i], {rows[i], columns});
    if (options_.fast && columns % kByteBlock == 0) {
      return load_fast_weight(*checkpoint_.tensors, names);
    }
    // What is divided is put together on the host: a device only ever gets this rank's part of it.
    return load_weight(*checkpoint_.tensors, names, options_.dtype, quantize,
                       options_.gathers == nullptr ? options_.device : at::kCPU);
  }

  // Embedding and lm_head: only blocks that are there anyway are kept, as bitsandbytes has it.
  std::shared_ptr<const WeightSource> vocabulary(const std::string& name, int64_t vocab,
                                                 int64_t hidden) {
    return weight({name}, {vocab}, hidden,
                  options_.quantize == Quantize::keep ? Quantize::keep : Quantize::none);
  }

  int64_t add(ModuleInfo info) {
    modules.push_back(std::move(info));
    return static_cast<int64_t>(modules.size()) - 1;
  }

  NormWeight norm(const std::string& path, int64_t width) {
    const int64_t module =
        add({.path = path, .kind = ModuleKind::norm, .in_features = width, .out_features = width});
    expect(path + ".weight", {width});
    const at::ScalarType dtype = norm_dtype(options_.dtype, options_.quantize);
    return {
        .weight = checkpoint_.tensors->read(path + ".weight", dtype).clone().to(options_.device),
        .module = module};
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
    group.weight = weight(names, rows, in_features, options_.quantize);
    if (has_bias) group.bias = at::cat(biases).to(options_.device);
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
  LoadOptions options_;
};

BlockWeights load_block(Loader& loader, const DecoderConfig& config, int64_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const int64_t hidden = config.hidden_size;
  const int64_t queries = config.num_heads * config.head_dim;
  const int64_t keys = config.num_kv_heads * config.head_dim;
  const auto first = static_cast<int64_t>(loader.modules.size());
  BlockWeights block;
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

// Only this rank's part of the block's matrices stays.
void shard_block(BlockWeights& block, const std::shared_ptr<GatherQueue>& gathers,
                 at::Device device) {
  const std::vector<LinearGroup*> groups = {&block.qkv, &block.attention_output, &block.gate_up,
                                            &block.down};
  std::vector<std::shared_ptr<const WeightSource>> matrices;
  for (const LinearGroup* group : groups) matrices.push_back(group->weight);
  matrices = shard(gathers, matrices, device);
  for (size_t i = 0; i < groups.size(); ++i) groups[i]->weight = matrices[i];
}

uint64_t mix_words(const at::Tensor& tensor, uint64_t digest) {
  const at::Tensor contiguous = tensor.cpu().contiguous();
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

at::ScalarType norm_dtype(at::ScalarType dtype, Quantize quantize) {
  const bool narrow = dtype == at::kBFloat16 || dtype == at::kHalf;
  return quantize != Quantize::none && narrow ? at::kFloat : dtype;
}

DecoderWeights load_decoder_weights(const Checkpoint& checkpoint, const LoadOptions& options) {
  const DecoderConfig& config = checkpoint.config;
  check(config, checkpoint.path.string());
  if (config.norm != NormKind::rms || !config.gated_mlp) {
    throw FormatError(checkpoint.path.string() +
                      ": layer normalisation and plain MLPs are not supported yet");
  }
  if (options.quantize == Quantize::keep) {
    if (const auto problem = keep_problem(checkpoint)) throw ConfigError(*problem);
  }
  if (options.gathers != nullptr && options.quantize != Quantize::none) {
    throw ConfigError("quantised weights are not divided between ranks");
  }
  TORCH_CHECK(!options.fast || (options.quantize == Quantize::none && options.device.is_cpu() &&
                                options.gathers == nullptr),
              "fast weights are whole, on the CPU, and quantised in their own way");
  const std::shared_ptr<GatherQueue>& gathers = options.gathers;
  Loader loader(checkpoint, options);
  DecoderWeights weights;
  weights.embedding =
      loader.vocabulary("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  if (gathers != nullptr) {
    weights.embedding = shard(gathers, {weights.embedding}, options.device)[0];
  }
  weights.embedding_module = loader.add({.path = "model.embed_tokens",
                                         .kind = ModuleKind::embedding,
                                         .in_features = config.vocab_size,
                                         .out_features = config.hidden_size});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    weights.blocks.push_back(load_block(loader, config, layer));
    if (gathers != nullptr) shard_block(weights.blocks.back(), gathers, options.device);
  }
  weights.final_norm = loader.norm("model.norm", config.hidden_size);
  // A sequence-classification checkpoint has no projection onto the vocabulary; the embedding
  // stands in and is never asked.
  const bool own_head =
      !config.tie_word_embeddings && checkpoint.tensors->contains("lm_head.weight");
  if (own_head) {
    weights.head.weight =
        loader.vocabulary("lm_head.weight", config.vocab_size, config.hidden_size);
    if (gathers != nullptr) {
      weights.head.weight = shard(gathers, {weights.head.weight}, options.device)[0];
    }
  } else if (!config.tie_word_embeddings && config.num_labels == 0) {
    throw FormatError(checkpoint.path.string() + ": has no tensor lm_head.weight");
  } else {
    weights.head.weight = weights.embedding;
  }
  weights.head.parts = {{.module = loader.add({.path = "lm_head",
                                               .kind = ModuleKind::linear,
                                               .in_features = config.hidden_size,
                                               .out_features = config.vocab_size}),
                         .num_columns = config.vocab_size}};
  weights.modules = std::move(loader.modules);
  weights.num_parameters = loader.num_parameters;
  return weights;
}

std::vector<const LinearGroup*> DecoderWeights::groups(const BlockWeights& block) {
  return {&block.qkv, &block.attention_output, &block.gate_up, &block.down};
}

at::Tensor DecoderWeights::value(int64_t module, bool bias) const {
  const c10::AutoGradMode no_grad(false);
  if (module == embedding_module && !bias) return embedding->dense().clone();
  if (module == final_norm.module && !bias) return final_norm.weight.clone();
  std::vector<const LinearGroup*> candidates{&head};
  for (const BlockWeights& block : blocks) {
    if (module == block.input_norm.module && !bias) return block.input_norm.weight.clone();
    if (module == block.mlp_norm.module && !bias) return block.mlp_norm.weight.clone();
    for (const LinearGroup* group : groups(block)) candidates.push_back(group);
  }
  for (const LinearGroup* group : candidates) {
    int64_t column = 0;
    for (const LinearPart& part : group->parts) {
      if (part.module == module && (!bias || group->bias)) {
        const at::Tensor values = bias ? *group->bias : group->weight->dense();
        return values.narrow(0, column, part.num_columns).clone();
      }
      column += part.num_columns;
    }
  }
  TORCH_CHECK(false, "the base: module ", module, " has no such tensor");
}

int64_t DecoderWeights::bytes() const {
  auto sum = static_cast<int64_t>(final_norm.weight.nbytes()) + embedding->bytes();
  if (head.weight != embedding) sum += head.weight->bytes();
  for (const BlockWeights& block : blocks) {
    sum += static_cast<int64_t>(block.input_norm.weight.nbytes() + block.mlp_norm.weight.nbytes());
    for (const LinearGroup* group : groups(block)) {
      sum += group->weight->bytes();
      if (group->bias) sum += static_cast<int64_t>(group->bias->nbytes());
    }
  }
  return sum;
}

std::string DecoderWeights::digest() const {
  uint64_t digest = mix_words(embedding->dense(), 0xcbf29ce484222325ull);
  for (const BlockWeights& block : blocks) {
    for (const LinearGroup* group : groups(block)) {
      digest = mix_words(group->weight->dense(), digest);
      if (group->bias) digest = mix_words(*group->bias, digest);
    }
    digest = mix_words(block.input_norm.weight, digest);
    digest = mix_words(block.mlp_norm.weight, digest);
  }
  digest = mix_words(final_norm.weight, digest);
  digest = mix_words(head.weight->dense(), digest);
  return fmt::format("{:016x}", digest);
}

}  // namespace leash
