// Where a family's modules stand in Hugging Face's tree: the one table of names that the loader,
// PEFT's files and the plan go by.
#pragma once

#include <string>
#include <string_view>

#include "models/families/decoder_config.h"

namespace leash {

// Paths below `trunk`, those of a block below "trunk.layers.N". Which of them exist is a matter of
// the facts.
struct ModulePaths {
  std::string_view trunk = "model";  // what a file of the base model alone leaves out
  std::string_view layers = "layers";
  std::string_view embedding = "embed_tokens";
  std::string_view positions = "";
  std::string_view embedding_norm = "";
  std::string_view final_norm = "norm";
  std::string_view query = "self_attn.q_proj";
  std::string_view key = "self_attn.k_proj";
  std::string_view value = "self_attn.v_proj";
  std::string_view qkv = "self_attn.qkv_proj";
  std::string_view attention_output = "self_attn.o_proj";
  std::string_view query_norm = "self_attn.q_norm";
  std::string_view key_norm = "self_attn.k_norm";
  std::string_view gate = "mlp.gate_proj";
  std::string_view up = "mlp.up_proj";
  std::string_view gate_up = "mlp.gate_up_proj";
  std::string_view down = "mlp.down_proj";
  std::string_view input_norm = "input_layernorm";
  std::string_view mlp_norm = "post_attention_layernorm";
  std::string_view attention_post_norm = "post_attention_layernorm";
  std::string_view mlp_post_norm = "post_feedforward_layernorm";
  std::string_view head = "lm_head";    // the module, not below `trunk`
  std::string_view head_in_files = "";  // where files have another name for it
  std::string_view older_trunk = "";    // what older files have in place of `trunk`
  std::string_view older_head = "";     // likewise of the head
};

// By the family's name (config.json's model_type) and, for Falcon and Gemma, by which norms there
// are. A name without a row has Llama's paths.
ModulePaths module_paths(const DecoderConfig& config);

// "trunk.name"
std::string in_trunk(const ModulePaths& paths, std::string_view name);

}  // namespace leash
