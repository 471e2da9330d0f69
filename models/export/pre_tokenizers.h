// The pre-tokenizers of byte-level BPE that llama.cpp knows by a name (tokenizer.ggml.pre), in the
// words of tokenizer.json.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace leash {

// By a tokenizer.json: llama.cpp's name for what splits as its pre_tokenizer does. First the ones
// whose steps are the same; then whatever cuts many texts, drawn from letters of every class, at
// the same places and agrees about NFC and ignored merges. nullopt where nothing does.
std::optional<std::string> pre_tokenizer_of(const nlohmann::json& tokenizer);

// The steps that a name stands for, as tokenizer.json's pre_tokenizer. FormatError for a name that
// is not known, or whose tokens are not spelled in bytes.
nlohmann::ordered_json pre_tokenizer_steps(const std::string& name);

}  // namespace leash
