#include "models/io/gguf_architecture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/errors.h"
#include "models/io/gguf_readers.h"
#include "models/printable.h"

namespace leash {
namespace {

constexpr GgufBias kOptional = GgufBias::optional, kAlways = GgufBias::always;

constexpr std::array<GgufArchitecture, 15> kArchitectures = {{
    {.name = "llama",
     .model_type = "llama",
     .read = read_gguf_llama,
     .pairs_rotated_rows = true,
     .qkv_bias = kOptional,
     .output_bias = kOptional,
     .mlp_bias = kOptional},
    {.name = "qwen2", .model_type = "qwen2", .read = read_gguf_llama, .qkv_bias = kOptional},
    {.name = "qwen3", .model_type = "qwen3", .read = read_gguf_qwen3, .qkv_bias = kOptional},
    {.name = "smollm3",
     .model_type = "smollm3",
     .read = read_gguf_smollm3,
     .pairs_rotated_rows = true,
     .qkv_bias = kOptional},
    {.name = "olmo2", .model_type = "olmo2", .read = read_gguf_olmo2, .qkv_bias = kOptional},
    {.name = "granite",
     .model_type = "granite",
     .read = read_gguf_granite,
     .pairs_rotated_rows = true,
     .qkv_bias = kOptional,
     .output_bias = kOptional,
     .mlp_bias = kOptional},
    {.name = "gemma", .model_type = "gemma", .read = read_gguf_gemma, .qkv_bias = kOptional},
    {.name = "gemma2", .model_type = "gemma2", .read = read_gguf_gemma2, .qkv_bias = kOptional},
    {.name = "gemma3",
     .model_type = "gemma3_text",
     .read = read_gguf_gemma3,
     .qkv_bias = kOptional},
    {.name = "phi2",
     .model_type = "phi",
     .read = read_gguf_phi2,
     .qkv_bias = kOptional,
     .output_bias = kAlways,
     .mlp_bias = kAlways},
    {.name = "phi3", .model_type = "phi3", .read = read_gguf_phi3, .qkv_bias = kOptional},
    {.name = "gpt2",
     .model_type = "gpt2",
     .read = read_gguf_gpt2,
     .qkv_bias = kAlways,
     .output_bias = kAlways,
     .mlp_bias = kAlways},
    {.name = "gptneox",
     .model_type = "gpt_neox",
     .read = read_gguf_gptneox,
     .qkv_bias = kAlways,
     .output_bias = kAlways,
     .mlp_bias = kAlways},
    {.name = "falcon", .model_type = "falcon", .read = read_gguf_falcon},
    {.name = "bloom",
     .model_type = "bloom",
     .read = read_gguf_bloom,
     .qkv_bias = kAlways,
     .output_bias = kAlways,
     .mlp_bias = kAlways},
}};

bool allows(GgufBias rule, bool has_bias) {
  return rule == GgufBias::optional || (rule == GgufBias::always) == has_bias;
}

void require_biases(const GgufArchitecture& row, const DecoderConfig& config,
                    const std::string& origin) {
  const struct {
    const char* where;
    GgufBias rule;
    bool has;
  } places[] = {{"query, key and value", row.qkv_bias, config.qkv_bias},
                {"attention's output", row.output_bias, config.attention_output_bias},
                {"the MLP", row.mlp_bias, config.mlp_bias}};
  for (const auto& place : places) {
    if (allows(place.rule, place.has)) continue;
    throw FormatError(fmt::format("{}: llama.cpp's {} has {} bias of {}, and the model has {}",
                                  origin, row.name, place.rule == GgufBias::always ? "a" : "no",
                                  place.where, place.has ? "one" : "none"));
  }
}

}  // namespace

std::span<const GgufArchitecture> gguf_architectures() { return kArchitectures; }

const GgufArchitecture& gguf_architecture(std::string_view name, const std::string& origin) {
  std::string known;
  for (const GgufArchitecture& row : kArchitectures) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw FormatError(fmt::format("{}: general.architecture '{}' is not supported, known are: {}",
                                origin, printable(name), known));
}

const GgufArchitecture& gguf_architecture_for(const DecoderConfig& config,
                                              const std::string& origin) {
  const std::string_view wanted = config.family == "mistral"  ? "llama"
                                  : config.family == "gemma3" ? "gemma3_text"
                                                              : std::string_view(config.family);
  const auto row = std::ranges::find(kArchitectures, wanted, &GgufArchitecture::model_type);
  if (row == kArchitectures.end()) {
    throw FormatError(fmt::format("{}: a model of the family {} is not written as a GGUF", origin,
                                  printable(config.family)));
  }
  require_biases(*row, config, origin);
  return *row;
}

}  // namespace leash
