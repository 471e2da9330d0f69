// The components of tokenizer.json around its model: normalizer, pre_tokenizer, post_processor,
// decoder. FormatError names a kind that is not supported.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "models/text/normalizer.h"
#include "models/text/pre_tokenizer.h"
#include "models/text/text_decoder.h"

namespace leash {

Normalizer read_normalizer(const nlohmann::json& normalizer);

struct ReadPreTokenizer {
  PreTokenizer steps;
  // Behind the steps, the last one spells bytes in GPT-2's alphabet: a byte-level model does
  // without, any other needs pre_tokenizers::byte_level().
  bool ends_in_bytes = false;
};
ReadPreTokenizer read_pre_tokenizer(const nlohmann::json& pre_tokenizer);

// What encode_with_special adds.
struct SurroundingTokens {
  std::vector<int64_t> before;
  std::vector<int64_t> behind;
};
SurroundingTokens read_post_processor(const nlohmann::json& post_processor);

TextDecoder read_decoder(const nlohmann::json& decoder);

// What the readers share.
namespace json_steps {

[[noreturn]] void refuse(const char* component, const std::string& type);
// The parts of a component: itself, or what a Sequence holds (under `key`).
std::vector<nlohmann::json> flattened(const nlohmann::json& component, const char* key);
// "pattern": {"Regex": …} or {"String": …}.
Regex read_pattern(const nlohmann::json& step);
// One character.
std::string read_char(const nlohmann::json& step, const char* key);
pre_tokenizers::Metaspace read_metaspace(const nlohmann::json& step);

}  // namespace json_steps
}  // namespace leash
