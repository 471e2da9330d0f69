#include "models/decoder/packed_texts.h"

#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace leash {

int64_t shared_beginning(std::span<const TokenSpan> texts) {
  if (texts.size() < 2) return 0;
  auto shared = static_cast<int64_t>(texts[0].size()) - 1;
  for (const TokenSpan text : texts.subspan(1)) {
    shared = std::min(shared, static_cast<int64_t>(text.size()) - 1);
    if (shared < kLeastSharedTokens) return 0;
    shared = std::ranges::mismatch(texts[0].first(shared), text).in1 - texts[0].begin();
  }
  if (shared < kLeastSharedTokens) return 0;
  int64_t total = 0;
  for (const TokenSpan text : texts) total += std::ssize(text);
  const int64_t saved = shared * (std::ssize(texts) - 1);
  return saved * kLeastSavedShare < total ? 0 : shared;
}

PackedTexts pack_shared(std::span<const std::vector<int64_t>> texts) {
  PackedTexts packed{.tokens = {},
                     .shared = shared_beginning(std::vector<TokenSpan>(texts.begin(), texts.end())),
                     .begins = {}};
  const int64_t shared = packed.shared;
  std::vector<int64_t> ids, positions;
  const auto add = [&](TokenSpan part, int64_t first_position, int64_t prefix) {
    TORCH_CHECK(!part.empty(), "pack_shared: an empty text");
    ids.insert(ids.end(), part.begin(), part.end());
    for (int64_t i = 0; i < std::ssize(part); ++i) positions.push_back(first_position + i);
    packed.tokens.lengths.push_back(std::ssize(part));
    if (shared > 0) packed.tokens.prefixes.push_back(prefix);
  };
  if (shared > 0) add(TokenSpan(texts[0]).first(shared), 0, -1);
  for (const std::vector<int64_t>& text : texts) {
    packed.begins.push_back(std::ssize(ids));
    add(TokenSpan(text).subspan(shared), shared, 0);
  }
  packed.tokens.ids = at::tensor(ids, at::kLong);
  packed.tokens.positions = at::tensor(positions, at::kLong);
  return packed;
}

}  // namespace leash
