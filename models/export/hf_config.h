// config.json and generation_config.json of a checkpoint that goes out as a Hugging Face folder.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include "models/io/checkpoint.h"

namespace leash {

// The base's own config.json where it is a folder, else one made of its facts; with the type of the
// weights, and what an adapter changed (a head of its own, a score head in place of it).
// FormatError where config.json could not say all facts (which reading it back finds).
nlohmann::ordered_json hf_config(const Checkpoint& merged, at::ScalarType dtype);

// Token ids that begin, end and fill a text, of a checkpoint that has no generation_config.json.
nlohmann::ordered_json hf_generation_config(const DecoderConfig& config);

// Names the first fact in which two configurations differ, numbers compared as 32 bits hold them;
// nullopt where none does. Left out: the family's name, token ids, and how a fresh head is drawn.
std::optional<std::string> different_fact(const DecoderConfig& a, const DecoderConfig& b);

}  // namespace leash
