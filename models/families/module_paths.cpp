// Names as in transformers' modeling_*.py (version 5.23).
#include "models/families/module_paths.h"

#include <fmt/format.h>

namespace leash {
namespace {

constexpr ModulePaths kGpt2 = {.trunk = "transformer",
                               .layers = "h",
                               .embedding = "wte",
                               .positions = "wpe",
                               .final_norm = "ln_f",
                               .qkv = "attn.c_attn",
                               .attention_output = "attn.c_proj",
                               .up = "mlp.c_fc",
                               .down = "mlp.c_proj",
                               .input_norm = "ln_1",
                               .mlp_norm = "ln_2"};

// Its head was a module of that name before transformers 5, and still is one in files.
constexpr ModulePaths kGptNeox = {.trunk = "gpt_neox",
                                  .embedding = "embed_in",
                                  .final_norm = "final_layer_norm",
                                  .qkv = "attention.query_key_value",
                                  .attention_output = "attention.dense",
                                  .up = "mlp.dense_h_to_4h",
                                  .down = "mlp.dense_4h_to_h",
                                  .head_in_files = "embed_out"};

// Falcon and BLOOM.
constexpr ModulePaths kRefinedWeb = {.trunk = "transformer",
                                     .layers = "h",
                                     .embedding = "word_embeddings",
                                     .embedding_norm = "word_embeddings_layernorm",
                                     .final_norm = "ln_f",
                                     .qkv = "self_attention.query_key_value",
                                     .attention_output = "self_attention.dense",
                                     .up = "mlp.dense_h_to_4h",
                                     .down = "mlp.dense_4h_to_h"};

constexpr ModulePaths kOpt = {.trunk = "model.decoder",
                              .positions = "embed_positions",
                              .final_norm = "final_layer_norm",
                              .attention_output = "self_attn.out_proj",
                              .up = "fc1",
                              .down = "fc2",
                              .input_norm = "self_attn_layer_norm",
                              .mlp_norm = "final_layer_norm"};

constexpr ModulePaths kPhi = {.final_norm = "final_layernorm",
                              .attention_output = "self_attn.dense",
                              .up = "mlp.fc1",
                              .down = "mlp.fc2"};

// The text part of a model that sees as well.
constexpr ModulePaths kGemma3 = {.trunk = "model.language_model",
                                 .older_trunk = "language_model.model",
                                 .older_head = "language_model.lm_head"};

ModulePaths by_family(std::string_view family) {
  if (family == "gpt2") return kGpt2;
  if (family == "gpt_neox") return kGptNeox;
  if (family == "bloom" || family == "falcon") return kRefinedWeb;
  if (family == "opt") return kOpt;
  if (family == "phi") return kPhi;
  if (family == "gemma3") return kGemma3;
  return {};
}

}  // namespace

ModulePaths module_paths(const DecoderConfig& config) {
  ModulePaths paths = by_family(config.family);
  if (config.norm_placement == NormPlacement::both) paths.mlp_norm = "pre_feedforward_layernorm";
  if (config.family == "falcon" && config.parallel_residual && !config.shared_norm) {
    paths.input_norm = "ln_attn";
    paths.mlp_norm = "ln_mlp";
  }
  return paths;
}

std::string in_trunk(const ModulePaths& paths, std::string_view name) {
  return fmt::format("{}.{}", paths.trunk, name);
}

}  // namespace leash
