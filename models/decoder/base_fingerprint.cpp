// FNV-1a over facts and norms.
#include "models/decoder/base_fingerprint.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

#include "models/families/decoder_modules.h"

namespace leash {
namespace {

uint64_t mixed(std::string_view bytes, uint64_t digest) {
  for (const char c : bytes) digest = (digest ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return digest;
}

// Numbers as a GGUF stores them, in 32 bits. Left out is what a conversion writes in another way
// (the scaling of positions, the context).
std::string facts(const DecoderConfig& c) {
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {}", c.vocab_size, c.hidden_size,
                     c.intermediate_size, c.num_layers, c.num_heads, c.num_kv_heads, c.head_dim,
                     static_cast<int>(c.activation), static_cast<float>(c.rope.theta),
                     static_cast<float>(c.norm_epsilon), c.qkv_bias, c.attention_output_bias,
                     c.mlp_bias);
}

}  // namespace

std::string base_fingerprint(const Checkpoint& checkpoint) {
  uint64_t digest = mixed(facts(checkpoint.config), 0xcbf29ce484222325ull);
  for (const ModuleInfo& module : decoder_modules(checkpoint.config)) {
    if (module.kind != ModuleKind::norm) continue;
    const at::Tensor weight = checkpoint.tensors->read(module.path + ".weight", at::kFloat)
                                  .to(at::kBFloat16)
                                  .contiguous();
    digest = mixed({static_cast<const char*>(weight.const_data_ptr()), weight.nbytes()}, digest);
  }
  return fmt::format("{:016x}", digest);
}

}  // namespace leash
