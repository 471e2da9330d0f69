// The table of names, and how a layer's number is carried over.
#include "models/io/name_map.h"

#include <array>
#include <utility>

namespace leash {

namespace {

using NamePair = std::pair<std::string_view, std::string_view>;

constexpr std::array<NamePair, 3> kModel = {
    {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}}};

// Within "blk.N." and "model.layers.N.".
constexpr std::array<NamePair, 9> kLayer = {{{"attn_norm", "input_layernorm"},
                                             {"attn_q", "self_attn.q_proj"},
                                             {"attn_k", "self_attn.k_proj"},
                                             {"attn_v", "self_attn.v_proj"},
                                             {"attn_output", "self_attn.o_proj"},
                                             {"ffn_norm", "post_attention_layernorm"},
                                             {"ffn_gate", "mlp.gate_proj"},
                                             {"ffn_up", "mlp.up_proj"},
                                             {"ffn_down", "mlp.down_proj"}}};

template <size_t size>
std::optional<std::string_view> look_up(const std::array<NamePair, size>& rows,
                                        std::string_view name) {
  for (const auto& [gguf, hugging_face] : rows) {
    if (gguf == name) return hugging_face;
  }
  return std::nullopt;
}

// A layer's number as llama.cpp prints it: "007" would be a second name for 7.
bool is_layer_number(std::string_view text) {
  constexpr size_t kMaxDigits = 6;
  return !text.empty() && text.size() <= kMaxDigits && (text[0] != '0' || text.size() == 1) &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::optional<std::string> hugging_face_name(std::string_view gguf_name) {
  const auto dot = gguf_name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto kind = gguf_name.substr(dot);
  if (kind != ".weight" && kind != ".bias") return std::nullopt;
  const auto module = gguf_name.substr(0, dot);

  constexpr std::string_view kBlock = "blk.";
  if (!module.starts_with(kBlock)) {
    const auto found = look_up(kModel, module);
    if (!found) return std::nullopt;
    return std::string(*found) + std::string(kind);
  }
  const auto in_block = module.substr(kBlock.size());
  const auto number = in_block.substr(0, in_block.find('.'));
  if (!is_layer_number(number) || number.size() == in_block.size()) return std::nullopt;
  const auto found = look_up(kLayer, in_block.substr(number.size() + 1));
  if (!found) return std::nullopt;
  return "model.layers." + std::string(number) + "." + std::string(*found) + std::string(kind);
}

QueryOrKey query_or_key(std::string_view hugging_face_name) {
  const auto module = hugging_face_name.substr(0, hugging_face_name.rfind('.'));
  if (module.ends_with(".q_proj")) return QueryOrKey::query;
  if (module.ends_with(".k_proj")) return QueryOrKey::key;
  return QueryOrKey::neither;
}

}  // namespace leash
