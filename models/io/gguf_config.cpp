// GGUF metadata to DecoderConfig. Under the architecture's prefix everything must be known: a key
// that nobody reads may be one that changes the numbers.
#include "models/io/gguf_config.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "models/families/token_id.h"
#include "models/io/gguf_rope.h"
#include "models/printable.h"

namespace leash {

namespace {

// Keys that are read below, and those that only describe.
constexpr std::array<std::string_view, 19> kKnownMetadata = {"vocab_size",
                                                             "context_length",
                                                             "embedding_length",
                                                             "block_count",
                                                             "feed_forward_length",
                                                             "attention.head_count",
                                                             "attention.head_count_kv",
                                                             "attention.layer_norm_rms_epsilon",
                                                             "attention.key_length",
                                                             "attention.value_length",
                                                             "attention.sliding_window",
                                                             "rope.freq_base",
                                                             "rope.dimension_count",
                                                             "rope.scaling.type",
                                                             "rope.scaling.factor",
                                                             "rope.scale_linear",
                                                             "rope.scaling.original_context_length",
                                                             "rope.scaling.finetuned",
                                                             "tensor_data_layout"};

// Keys that are allowed while they change nothing.
constexpr std::array<std::pair<std::string_view, double>, 9> kNeutral = {
    {{"expert_count", 0},
     {"expert_used_count", 0},
     {"use_parallel_residual", 0},
     {"attention.clamp_kqv", 0},
     {"attention.max_alibi_bias", 0},
     {"attn_logit_softcapping", 0},
     {"final_logit_softcapping", 0},
     {"attention.causal", 1},
     {"rope.scaling.attn_factor", 1}}};

bool is_known(std::string_view name) {
  for (const auto known : kKnownMetadata) {
    if (known == name) return true;
  }
  return false;
}

void refuse_unknown(const GgufFile& file, std::string_view architecture) {
  const std::string prefix = std::string(architecture) + ".";
  for (const auto& key : file.metadata_keys()) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view name = std::string_view(key).substr(prefix.size());
    if (is_known(name)) continue;
    bool neutral = false;
    for (const auto& [known, value] : kNeutral) {
      neutral = neutral || (known == name && file.float_value(key) == value);
    }
    if (!neutral) {
      file.fail(fmt::format("metadata '{}' may change the computation and is not supported",
                            printable(key)));
    }
  }
}

class Metadata {
 public:
  Metadata(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  std::optional<int64_t> integer(const char* name) const { return file_.int_value(prefix_ + name); }
  std::optional<double> number(const char* name) const { return file_.float_value(prefix_ + name); }
  int64_t required(const char* name) const {
    const auto value = integer(name);
    if (!value) missing(name);
    return *value;
  }
  double required_number(const char* name) const {
    const auto value = number(name);
    if (!value) missing(name);
    return *value;
  }

 private:
  [[noreturn]] void missing(const char* name) const {
    file_.fail(fmt::format("metadata '{}{}' is missing", prefix_, name));
  }
  const GgufFile& file_;
  std::string prefix_;
};

// The number of words: said, or that of the tokenizer, or the embedding's rows.
int64_t vocabulary(const GgufFile& file, const Metadata& metadata) {
  if (const auto size = metadata.integer("vocab_size")) return *size;
  if (const auto size = file.array_size("tokenizer.ggml.tokens")) return *size;
  const auto shape = file.shape("token_embd.weight");
  if (shape.size() != 2) file.fail("token_embd.weight is no matrix");
  return shape[0];
}

void read_sizes(const GgufFile& file, const Metadata& metadata, DecoderConfig& config) {
  config.vocab_size = vocabulary(file, metadata);
  config.hidden_size = metadata.required("embedding_length");
  config.intermediate_size = metadata.required("feed_forward_length");
  config.num_layers = metadata.required("block_count");
  config.num_heads = metadata.required("attention.head_count");
  if (config.num_heads <= 0) file.fail(fmt::format("{} attention heads", config.num_heads));
  config.num_kv_heads = metadata.integer("attention.head_count_kv").value_or(config.num_heads);
  config.head_dim =
      metadata.integer("attention.key_length").value_or(config.hidden_size / config.num_heads);
  if (metadata.integer("attention.value_length").value_or(config.head_dim) != config.head_dim) {
    file.fail("heads whose keys and values have different lengths are not supported");
  }
  config.max_positions = metadata.required("context_length");
  const auto window = metadata.integer("attention.sliding_window").value_or(0);
  if (window != 0 && window < config.max_positions) {
    file.fail(fmt::format("sliding-window attention ({} of {} positions) is not supported", window,
                          config.max_positions));
  }
}

std::optional<int64_t> token_id(const GgufFile& file, const char* key) {
  return unless_none(file.int_value(std::string("tokenizer.ggml.") + key));
}

void read_token_ids(const GgufFile& file, DecoderConfig& config) {
  config.bos_token_id = token_id(file, "bos_token_id");
  config.pad_token_id = token_id(file, "padding_token_id");
  const auto eos = token_id(file, "eos_token_id");
  if (eos) config.eos_token_ids = {*eos};
  const auto end_of_turn = token_id(file, "eot_token_id");
  if (end_of_turn && end_of_turn != eos) config.eos_token_ids.push_back(*end_of_turn);
}

// Biases are not in the metadata: they are there or not. The decoder notices when only some layers
// have them, since it asks for each.
void read_biases(const GgufFile& file, DecoderConfig& config) {
  config.qkv_bias = file.contains("blk.0.attn_q.bias");
  config.attention_output_bias = file.contains("blk.0.attn_output.bias");
  config.mlp_bias = file.contains("blk.0.ffn_down.bias");
  config.tie_word_embeddings = !file.contains("output.weight");
}

}  // namespace

const Family& family_of(const GgufFile& file) {
  const auto architecture = file.string_value("general.architecture");
  if (!architecture) file.fail("metadata 'general.architecture' is missing");
  const auto type = file.string_value("general.type").value_or("model");
  if (type != "model")
    file.fail(fmt::format("holds a GGUF of type '{}', no model", printable(type)));
  return family_of_gguf(*architecture, file.origin());
}

DecoderConfig config_from_gguf(const GgufFile& file) {
  const Family& family = family_of(file);
  refuse_unknown(file, family.gguf_architecture);
  const Metadata metadata(file, family.gguf_architecture);
  DecoderConfig config;
  config.family = family.model_type;
  read_sizes(file, metadata, config);
  config.norm_epsilon = metadata.required_number("attention.layer_norm_rms_epsilon");
  config.rope = rope_from_gguf(file, family.gguf_architecture, config.head_dim);
  read_biases(file, config);
  read_token_ids(file, config);
  check(config, file.origin());
  return config;
}

}  // namespace leash
