// One row for each model_type, and the ways to find it.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/errors.h"
#include "models/families/families.h"
#include "models/families/family_readers.h"
#include "models/printable.h"

namespace leash {

namespace {

constexpr std::array<std::string_view, 6> kLeftOutByLlama = {
    "rotary_emb.inv_freq",   "rotary_emb.cos_cached", "rotary_emb.sin_cached",
    "self_attn.masked_bias", "v_head.summary.weight", "v_head.summary.bias"};
// Causal masks that older versions saved.
constexpr std::array<std::string_view, 4> kLeftOutByGpt2 = {
    "attn.bias", "attn.masked_bias", "v_head.summary.weight", "v_head.summary.bias"};
constexpr std::array<std::string_view, 5> kLeftOutByNeox = {
    "attention.bias", "attention.masked_bias", "rotary_emb.inv_freq", "v_head.summary.weight",
    "v_head.summary.bias"};
constexpr std::array<std::string_view, 4> kLeftOutUnderGemma3 = {
    "vision_tower.", "multi_modal_projector.", "model.vision_tower.",
    "model.multi_modal_projector."};

constexpr std::array<Family, 18> kFamilies = {{
    {.model_type = "llama",
     .gguf_architecture = "llama",
     .gguf_permutes_qk = true,
     .read = read_llama,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .left_out = kLeftOutByLlama},
    {.model_type = "mistral",  // in a GGUF it is llama
     .gguf_permutes_qk = true,
     .read = read_mistral,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .left_out = kLeftOutByLlama},
    {.model_type = "qwen2",
     .gguf_architecture = "qwen2",
     .read = read_qwen2,
     .left_out = kLeftOutByLlama},
    {.model_type = "qwen3", .read = read_qwen3, .left_out = kLeftOutByLlama},
    {.model_type = "smollm3",
     .read = read_smollm3,
     .bos_token_id = 128000,
     .eos_token_id = 128001,
     .pad_token_id = 128004,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama},
    {.model_type = "olmo2",
     .read = read_olmo2,
     .eos_token_id = 50279,
     .pad_token_id = 1,
     .left_out = kLeftOutByLlama},
    {.model_type = "granite",
     .read = read_granite,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .left_out = kLeftOutByLlama},
    {.model_type = "gemma",
     .read = read_gemma,
     .bos_token_id = 2,
     .eos_token_id = 1,
     .pad_token_id = 0,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama},
    {.model_type = "gemma2",
     .read = read_gemma2,
     .bos_token_id = 2,
     .eos_token_id = 1,
     .pad_token_id = 0,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama},
    {.model_type = "gemma3_text",
     .read = read_gemma3_text,
     .bos_token_id = 2,
     .eos_token_id = 1,
     .pad_token_id = 0,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama},
    {.model_type = "gemma3",
     .read = read_gemma3_text,
     .bos_token_id = 2,
     .eos_token_id = 1,
     .pad_token_id = 0,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama,
     .left_out_under = kLeftOutUnderGemma3},
    {.model_type = "phi",
     .read = read_phi,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .left_out = kLeftOutByLlama},
    {.model_type = "phi3",
     .read = read_phi3,
     .bos_token_id = 1,
     .eos_token_id = 32000,
     .pad_token_id = 32000,
     .left_out = kLeftOutByLlama},
    {.model_type = "gpt2",
     .read = read_gpt2,
     .bos_token_id = 50256,
     .eos_token_id = 50256,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByGpt2},
    {.model_type = "gpt_neox",
     .read = read_gpt_neox,
     .bos_token_id = 0,
     .eos_token_id = 2,
     .left_out = kLeftOutByNeox},
    {.model_type = "opt",
     .read = read_opt,
     .bos_token_id = 2,
     .eos_token_id = 2,
     .pad_token_id = 1,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama},
    {.model_type = "falcon",
     .read = read_falcon,
     .bos_token_id = 11,
     .eos_token_id = 11,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama},
    {.model_type = "bloom",
     .read = read_bloom,
     .bos_token_id = 1,
     .eos_token_id = 2,
     .tie_word_embeddings = true,
     .left_out = kLeftOutByLlama},
}};

// Mixtures of experts by their model_type.
constexpr std::array<std::string_view, 46> kMixtures = {
    "afmoe",        "arctic",           "aria",
    "aria_text",    "bailing_moe",      "cohere2_moe",
    "dbrx",         "deepseek",         "deepseek_v2",
    "deepseek_v3",  "deepseek_v4",      "dots1",
    "ernie4_5_moe", "exaone_moe",       "flex_olmo",
    "glm4_moe",     "glm4_moe_lite",    "gpt_oss",
    "granitemoe",   "granitemoehybrid", "granitemoeshared",
    "grok-1",       "hunyuan_v1_moe",   "jamba",
    "jetmoe",       "kimi_k2",          "lfm2_moe",
    "llama4",       "llama4_text",      "longcat_flash",
    "mellum",       "minimax",          "minimax_m2",
    "mixtral",      "nllb-moe",         "olmoe",
    "phimoe",       "qwen2_moe",        "qwen3_5_moe",
    "qwen3_moe",    "qwen3_next",       "qwen3_omni_moe",
    "qwen3_vl_moe", "solar_open",       "switch_transformers",
    "xverse_moe"};

template <std::string_view Family::*name>
const Family& find_family(std::string_view wanted, const std::string& origin, const char* what) {
  std::string known;
  for (const auto& family : kFamilies) {
    if ((family.*name).empty()) continue;
    if (family.*name == wanted) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.*name);
  }
  const bool mixes = std::ranges::find(kMixtures, wanted) != kMixtures.end();
  throw FormatError(fmt::format("{}: {} '{}' is {}not supported, known are: {}", origin, what,
                                printable(wanted), mixes ? "a mixture of experts, which is " : "",
                                known));
}

}  // namespace

std::span<const Family> families() { return kFamilies; }

const Family& family_of_model_type(std::string_view model_type, const std::string& origin) {
  return find_family<&Family::model_type>(model_type, origin, "model_type");
}

const Family& family_of_gguf(std::string_view architecture, const std::string& origin) {
  return find_family<&Family::gguf_architecture>(architecture, origin, "general.architecture");
}

std::span<const std::string_view> left_out_by(std::string_view model_type) {
  const auto found = std::ranges::find(kFamilies, model_type, &Family::model_type);
  return found == kFamilies.end() ? std::span<const std::string_view>() : found->left_out;
}

std::span<const std::string_view> left_out_under_by(std::string_view model_type) {
  const auto found = std::ranges::find(kFamilies, model_type, &Family::model_type);
  return found == kFamilies.end() ? std::span<const std::string_view>() : found->left_out_under;
}

}  // namespace leash
