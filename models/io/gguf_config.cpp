// GGUF metadata to DecoderConfig. Under the architecture's prefix everything must be known: a key
// that nobody reads may be one that changes the numbers.
#include "models/io/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/families/token_id.h"
#include "models/io/gguf_metadata.h"
#include "models/io/gguf_rope.h"
#include "models/printable.h"

namespace leash {

namespace {

constexpr int64_t kMaxGgufLayers = 10'000;  // before a list of them is made

// The number of words: said, or that of the tokenizer, or the embedding's rows.
int64_t vocabulary(const GgufFile& file, const GgufMetadata& metadata) {
  if (const auto size = metadata.integer("vocab_size")) return *size;
  if (const auto size = file.array_size("tokenizer.ggml.tokens")) return *size;
  const auto shape = file.shape("token_embd.weight");
  if (shape.size() != 2) file.fail("token_embd.weight is no matrix");
  return shape[0];
}

void read_sizes(const GgufFile& file, const GgufMetadata& metadata, DecoderConfig& config) {
  config.vocab_size = vocabulary(file, metadata);
  config.hidden_size = metadata.required("embedding_length");
  config.intermediate_size = metadata.required("feed_forward_length");
  config.num_layers = metadata.required("block_count");
  if (config.num_layers < 1 || config.num_layers > kMaxGgufLayers) {
    file.fail(fmt::format("{} layers", config.num_layers));
  }
  config.num_heads = metadata.required("attention.head_count");
  if (config.num_heads <= 0) file.fail(fmt::format("{} attention heads", config.num_heads));
  config.num_kv_heads = metadata.integer("attention.head_count_kv").value_or(config.num_heads);
  config.head_dim =
      metadata.integer("attention.key_length").value_or(config.hidden_size / config.num_heads);
  if (metadata.integer("attention.value_length").value_or(config.head_dim) != config.head_dim) {
    file.fail("heads whose keys and values have different lengths are not supported");
  }
  config.max_positions = metadata.required("context_length");
}

std::optional<int64_t> token_id(const GgufFile& file, const char* key) {
  return unless_none(file.int_value(std::string("tokenizer.ggml.") + key));
}

void read_token_ids(const GgufFile& file, DecoderConfig& config) {
  config.bos_token_id = token_id(file, "bos_token_id");
  config.pad_token_id = token_id(file, "padding_token_id");
  const auto eos = token_id(file, "eos_token_id");
  if (eos) config.eos_token_ids = {*eos};
  for (const char* key : {"eot_token_id", "eom_token_id"}) {
    const auto end = token_id(file, key);
    const bool known =
        !end || std::ranges::find(config.eos_token_ids, *end) != config.eos_token_ids.end();
    if (!known) config.eos_token_ids.push_back(*end);
  }
}

// Biases are not in the metadata: they are there or not. The decoder notices when only some layers
// have them, since it asks for each.
void read_biases(const GgufFile& file, DecoderConfig& config) {
  config.qkv_bias = file.contains("blk.0.attn_q.bias") || file.contains("blk.0.attn_qkv.bias");
  config.attention_output_bias = file.contains("blk.0.attn_output.bias");
  config.mlp_bias = file.contains("blk.0.ffn_down.bias");
  config.head_bias = file.contains("output.bias");
  config.tie_word_embeddings = !file.contains("output.weight");
}

}  // namespace

const GgufArchitecture& architecture_of(const GgufFile& file) {
  const auto architecture = file.string_value("general.architecture");
  if (!architecture) file.fail("metadata 'general.architecture' is missing");
  const auto type = file.string_value("general.type").value_or("model");
  if (type != "model")
    file.fail(fmt::format("holds a GGUF of type '{}', no model", printable(type)));
  return gguf_architecture(*architecture, file.origin());
}

DecoderConfig config_from_gguf(const GgufFile& file) {
  const GgufArchitecture& architecture = architecture_of(file);
  const GgufMetadata metadata(file, architecture.name);
  DecoderConfig config;
  config.family = architecture.model_type;
  read_sizes(file, metadata, config);
  config.rope = rope_from_gguf(metadata, config.head_dim, config.max_positions);
  read_biases(file, config);
  read_token_ids(file, config);
  architecture.read(metadata, config);
  metadata.refuse_what_was_not_read();
  check(config, file.origin());
  return config;
}

}  // namespace leash
