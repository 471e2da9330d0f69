// Tokens that chat templates know by a name.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace leash {

// unk_token, image_token and the like of tokenizer_config.json (or, where it does not say them, of
// special_tokens_map.json), as transformers' special_tokens_map has them; those that are token ids
// of a Tokenizer (bos_token, eos_token, pad_token) are left out.
std::vector<std::pair<std::string, std::string>> read_named_tokens(const nlohmann::json& config,
                                                                   const nlohmann::json& map);

}  // namespace leash
