#include "models/io/name_map.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <vector>

#include "models/errors.h"
#include "models/families/decoder_modules.h"

namespace leash {
namespace {

// Without the block's number.
std::string_view role_name(ModuleRole role) {
  switch (role) {
    case ModuleRole::embedding:
      return "token_embd";
    case ModuleRole::positions:
      return "position_embd";
    case ModuleRole::embedding_norm:
      return "token_embd_norm";
    case ModuleRole::qkv:
      return "attn_qkv";
    case ModuleRole::attention_post_norm:
      return "post_attention_norm";
    case ModuleRole::mlp_post_norm:
      return "post_ffw_norm";
    case ModuleRole::query_norm:
      return "attn_q_norm";
    case ModuleRole::key_norm:
      return "attn_k_norm";
    case ModuleRole::query:
      return "attn_q";
    case ModuleRole::key:
      return "attn_k";
    case ModuleRole::value:
      return "attn_v";
    case ModuleRole::attention_output:
      return "attn_output";
    case ModuleRole::gate:
      return "ffn_gate";
    case ModuleRole::up:
    case ModuleRole::gate_up:
      return "ffn_up";
    case ModuleRole::down:
      return "ffn_down";
    case ModuleRole::input_norm:
      return "attn_norm";
    case ModuleRole::mlp_norm:
      return "ffn_norm";
    case ModuleRole::final_norm:
      return "output_norm";
    case ModuleRole::lm_head:
      return "output";
    default:
      return "";
  }
}

// Falcon with two norms side by side: llama.cpp's attn_norm is the MLP's.
bool has_falcon_norms(const DecoderConfig& config) {
  return config.family == "falcon" && config.parallel_residual && !config.shared_norm;
}

GgufPlace place_of(std::string name, const ModuleInfo& module, const DecoderConfig& config,
                   const GgufArchitecture& architecture) {
  GgufPlace place{.name = std::move(name)};
  const bool query = module.role == ModuleRole::query, key = module.role == ModuleRole::key;
  if (architecture.pairs_rotated_rows && (query || key)) {
    place.order = RowOrder::rotated_pairs;
    place.heads = query ? config.num_heads : config.num_kv_heads;
  }
  if (module.role == ModuleRole::qkv && config.qkv_layout == QkvLayout::grouped) {
    place.order = RowOrder::stacked;
    place.heads = config.num_heads;
    place.kv_heads = config.num_kv_heads;
  }
  if (module.kind == ModuleKind::norm && place.name.ends_with(".weight")) {
    place.offset = config.norm_offset;
  }
  return place;
}

// Views rows as [heads, a, b, …] and swaps a and b.
at::Tensor swap_in_heads(const at::Tensor& rows, const GgufPlace& place, int64_t halves) {
  if (rows.dim() == 0 || rows.size(0) % (2 * place.heads) != 0) {
    throw FormatError(
        fmt::format("the rows of tensor '{}' cannot be {} heads", place.name, place.heads));
  }
  const int64_t half = rows.size(0) / place.heads / 2;
  std::vector<int64_t> split = {place.heads, halves == 2 ? 2 : half, halves == 2 ? half : 2};
  const auto sizes = rows.sizes();
  split.insert(split.end(), sizes.begin() + 1, sizes.end());
  return rows.reshape(split).transpose(1, 2).reshape(sizes);
}

// [queries | keys | values] as each key head's queries, key and value.
at::Tensor grouped_rows(const at::Tensor& rows, const GgufPlace& place) {
  const int64_t all = place.heads + 2 * place.kv_heads;
  if (rows.dim() == 0 || place.heads % place.kv_heads != 0 || rows.size(0) % all != 0) {
    throw FormatError(fmt::format("the rows of tensor '{}' cannot be {} heads and 2 x {}",
                                  place.name, place.heads, place.kv_heads));
  }
  const int64_t width = rows.size(0) / all;
  const at::Tensor flat = rows.reshape({all, width, -1});
  const int64_t share = place.heads / place.kv_heads;
  const at::Tensor queries =
      flat.narrow(0, 0, place.heads).reshape({place.kv_heads, share, width, -1});
  const at::Tensor keys = flat.narrow(0, place.heads, place.kv_heads).unsqueeze(1);
  const at::Tensor values =
      flat.narrow(0, place.heads + place.kv_heads, place.kv_heads).unsqueeze(1);
  return at::cat({queries, keys, values}, 1).reshape(rows.sizes());
}

at::Tensor stacked_rows(const at::Tensor& rows, const GgufPlace& place) {
  const int64_t share = place.heads / place.kv_heads;
  const int64_t width = rows.size(0) / (place.heads + 2 * place.kv_heads);
  const at::Tensor groups = rows.reshape({place.kv_heads, share + 2, width, -1});
  const auto part = [&](int64_t begin, int64_t count) {
    return groups.narrow(1, begin, count).reshape({place.kv_heads * count * width, -1});
  };
  return at::cat({part(0, share), part(share, 1), part(share + 1, 1)}, 0).reshape(rows.sizes());
}

}  // namespace

std::optional<std::string> gguf_module_name(const ModuleInfo& module, const DecoderConfig& config) {
  std::string_view name = role_name(module.role);
  if (has_falcon_norms(config)) {
    if (module.role == ModuleRole::input_norm) name = "attn_norm_2";
    if (module.role == ModuleRole::mlp_norm) name = "attn_norm";
  }
  if (name.empty()) return std::nullopt;
  if (module.layer < 0) return std::string(name);
  return fmt::format("blk.{}.{}", module.layer, name);
}

GgufPlaces gguf_places(const DecoderConfig& config, const GgufArchitecture& architecture) {
  GgufPlaces places;
  for (const ModuleInfo& module : decoder_modules(config)) {
    const auto name = gguf_module_name(module, config);
    if (!name) {
      throw FormatError(fmt::format("a GGUF of the architecture {} has no place for {}",
                                    architecture.name, module.path));
    }
    for (const char* kind : {".weight", ".bias"}) {
      places.emplace(module.path + kind, place_of(*name + kind, module, config, architecture));
    }
  }
  return places;
}

at::Tensor from_gguf_order(const at::Tensor& rows, const GgufPlace& place) {
  switch (place.order) {
    case RowOrder::rotated_pairs:
      return swap_in_heads(rows, place, /*halves=*/0);
    case RowOrder::stacked:
      return grouped_rows(rows, place);
    case RowOrder::same:
      break;
  }
  return rows;
}

at::Tensor to_gguf_order(const at::Tensor& rows, const GgufPlace& place) {
  switch (place.order) {
    case RowOrder::rotated_pairs:
      return swap_in_heads(rows, place, /*halves=*/2);
    case RowOrder::stacked:
      return stacked_rows(rows, place);
    case RowOrder::same:
      break;
  }
  return rows;
}

}  // namespace leash
