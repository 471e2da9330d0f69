#include "rl/plan/known_models.h"

namespace leash {
namespace {

struct Facts {
  const char* name;
  int64_t layers, hidden, middle, heads, kv_heads, head_dim, vocabulary, context;
  bool tied;
};

constexpr Facts kFacts[] = {
    {"SmolLM2-135M", 30, 576, 1536, 9, 3, 64, 49152, 8192, true},
    {"Llama-3.2-1B", 16, 2048, 8192, 32, 8, 64, 128256, 131072, true},
    {"Llama-3.2-3B", 28, 3072, 8192, 24, 8, 128, 128256, 131072, true},
    {"Llama-3.1-8B", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false},
    {"Llama-3.1-70B", 80, 8192, 28672, 64, 8, 128, 128256, 131072, false},
};

std::vector<KnownModel> make() {
  std::vector<KnownModel> models;
  for (const Facts& facts : kFacts) {
    DecoderConfig config;
    config.family = "llama";
    config.vocab_size = facts.vocabulary;
    config.hidden_size = facts.hidden;
    config.intermediate_size = facts.middle;
    config.num_layers = facts.layers;
    config.num_heads = facts.heads;
    config.num_kv_heads = facts.kv_heads;
    config.head_dim = facts.head_dim;
    config.max_positions = facts.context;
    config.rope.rotary_dim = facts.head_dim;
    config.tie_word_embeddings = facts.tied;
    models.push_back({facts.name, config});
  }
  return models;
}

}  // namespace

const std::vector<KnownModel>& known_models() {
  static const std::vector<KnownModel> models = make();
  return models;
}

}  // namespace leash
