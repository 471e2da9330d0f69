// What a decoder's frozen weights are asked for besides products: copies, sizes, a digest.
#include "models/decoder/decoder_weights.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace leash {
namespace {

uint64_t mix_words(const at::Tensor& tensor, uint64_t digest) {
  const at::Tensor contiguous = tensor.cpu().contiguous();
  const auto* bytes = static_cast<const unsigned char*>(contiguous.const_data_ptr());
  const size_t size = contiguous.nbytes();
  for (size_t i = 0; i < size; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i, std::min<size_t>(8, size - i));
    digest = (digest ^ word) * 0x100000001b3ull;
    digest ^= digest >> 29;
  }
  return digest;
}

}  // namespace

std::vector<const LinearGroup*> DecoderWeights::groups(const BlockWeights& block) {
  return {&block.qkv, &block.attention_output, &block.gate_up, &block.down};
}

std::vector<const NormWeight*> DecoderWeights::norms(const BlockWeights& block) {
  std::vector<const NormWeight*> norms = {&block.input_norm,          &block.mlp_norm,
                                          &block.attention_post_norm, &block.mlp_post_norm,
                                          &block.query_norm,          &block.key_norm};
  std::erase_if(norms, [](const NormWeight* norm) { return !norm->there(); });
  return norms;
}

at::Tensor DecoderWeights::value(int64_t module, bool bias) const {
  const c10::AutoGradMode no_grad(false);
  if (module == embedding_module && !bias) return embedding->dense().clone();
  if (positions != nullptr && module == positions_module && !bias)
    return positions->dense().clone();
  std::vector<const LinearGroup*> candidates{&head};
  std::vector<const NormWeight*> all_norms{&embedding_norm, &final_norm};
  for (const BlockWeights& block : blocks) {
    for (const NormWeight* norm : norms(block)) all_norms.push_back(norm);
    for (const LinearGroup* group : groups(block)) candidates.push_back(group);
  }
  for (const NormWeight* norm : all_norms) {
    if (module != norm->module || !(bias ? norm->bias : norm->weight).defined()) continue;
    return (bias ? norm->bias : norm->weight).clone();
  }
  for (const LinearGroup* group : candidates) {
    int64_t column = 0;
    for (const LinearPart& part : group->parts) {
      if (part.module == module && (!bias || group->bias)) {
        const at::Tensor values = bias ? *group->bias : group->weight->dense();
        return values.narrow(0, column, part.num_columns).clone();
      }
      column += part.num_columns;
    }
  }
  TORCH_CHECK(false, "the base: module ", module, " has no such tensor");
}

int64_t DecoderWeights::bytes() const {
  const auto norm_bytes = [](const NormWeight& norm) {
    const size_t weight = norm.there() ? norm.weight.nbytes() : 0;
    return static_cast<int64_t>(weight + (norm.bias.defined() ? norm.bias.nbytes() : 0));
  };
  int64_t sum = norm_bytes(embedding_norm) + norm_bytes(final_norm) + embedding->bytes();
  if (positions != nullptr) sum += positions->bytes();
  if (head.weight != embedding) sum += head.weight->bytes();
  if (head.bias) sum += static_cast<int64_t>(head.bias->nbytes());
  for (const BlockWeights& block : blocks) {
    for (const NormWeight* norm : norms(block)) sum += norm_bytes(*norm);
    for (const LinearGroup* group : groups(block)) {
      sum += group->weight->bytes();
      if (group->bias) sum += static_cast<int64_t>(group->bias->nbytes());
    }
  }
  return sum;
}

std::string DecoderWeights::digest() const {
  uint64_t digest = mix_words(embedding->dense(), 0xcbf29ce484222325ull);
  const auto mix_norm = [&digest](const NormWeight& norm) {
    if (norm.there()) digest = mix_words(norm.weight, digest);
    if (norm.bias.defined()) digest = mix_words(norm.bias, digest);
  };
  if (positions != nullptr) digest = mix_words(positions->dense(), digest);
  mix_norm(embedding_norm);
  for (const BlockWeights& block : blocks) {
    for (const LinearGroup* group : groups(block)) {
      digest = mix_words(group->weight->dense(), digest);
      if (group->bias) digest = mix_words(*group->bias, digest);
    }
    for (const NormWeight* norm : norms(block)) mix_norm(*norm);
  }
  mix_norm(final_norm);
  digest = mix_words(head.weight->dense(), digest);
  if (head.bias) digest = mix_words(*head.bias, digest);
  return fmt::format("{:016x}", digest);
}

}  // namespace leash
