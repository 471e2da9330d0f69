// What a decoder consists of, module by module: what a checkpoint holds and an adapter may address.
#pragma once

#include <cstdint>
#include <string>

namespace leash {

enum class ModuleKind { linear, embedding, norm };

// What a module does in a decoder. `other`: nothing that the decoder knows (tests, foreign lists).
enum class ModuleRole {
  other,
  embedding,
  positions,       // the table of learned positions
  embedding_norm,  // behind the embedding
  query,
  key,
  value,
  qkv,  // query, key and value as one module
  attention_output,
  gate,
  up,       // of a gated MLP, or the one projection into a plain one
  gate_up,  // gate and up as one module
  down,
  input_norm,           // before attention
  mlp_norm,             // before the MLP
  attention_post_norm,  // behind attention, before its result is added
  mlp_post_norm,        // behind the MLP, likewise
  query_norm,
  key_norm,
  final_norm,
  lm_head,  // onto the vocabulary; the embedding's own weight where they are tied
  score     // of sequence classification, reward models included
};

// One module of a decoder (or a head on it) that an adapter may address. Its position in the
// decoder's list is its index.
struct ModuleInfo {
  std::string path;  // Hugging Face's module path, e.g. "model.layers.0.self_attn.q_proj"
  ModuleKind kind = ModuleKind::linear;
  int64_t in_features = 0;   // an embedding's number of rows, a norm's width
  int64_t out_features = 0;  // an embedding's width, a norm's width
  bool has_bias = false;
  ModuleRole role = ModuleRole::other;
  int64_t layer = -1;  // of the block that it belongs to; -1: none
  // Modules with one number are one product of one input, their outputs side by side.
  int64_t group = -1;
  // Hugging Face keeps the weight as [in, out] (GPT-2's Conv1D, PEFT's fan_in_fan_out). Here it is
  // [out, in] like every other; files of adapters have their trained copies as Hugging Face does.
  bool transposed = false;
};

// The score head of `outputs` classes (1: a reward) on states of `width` numbers.
inline ModuleInfo score_module(int64_t width, int64_t outputs) {
  return {.path = "score",
          .kind = ModuleKind::linear,
          .in_features = width,
          .out_features = outputs,
          .role = ModuleRole::score};
}

// Whether a module turns states into what is asked of the model: not a layer of its trunk.
inline bool is_head(const ModuleInfo& module) {
  return module.role == ModuleRole::lm_head || module.role == ModuleRole::score;
}

}  // namespace leash
