// The components of tokenizer.json around its model: normalizer, pre_tokenizer, post_processor,
// decoder. FormatError names a kind that is not supported.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "models/tokenizer/pre_tokenizer.h"

namespace leash {

// Whether text is normalised to NFC.
bool read_normalizer(const nlohmann::json& normalizer);

PreTokenizer read_pre_tokenizer(const nlohmann::json& pre_tokenizer);

// What encode_with_special adds.
struct SurroundingTokens {
  std::vector<int64_t> before;
  std::vector<int64_t> behind;
};
SurroundingTokens read_post_processor(const nlohmann::json& post_processor);

void check_decoder(const nlohmann::json& decoder);

}  // namespace leash
