// What llama.cpp calls the tensors of a decoder, in Hugging Face's words.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace leash {

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; nullopt for a name that is
// not in the table.
std::optional<std::string> hugging_face_name(std::string_view gguf_name);

// Whether a Hugging Face name is the query's or the key's projection (weight or bias).
enum class QueryOrKey { neither, query, key };
QueryOrKey query_or_key(std::string_view hugging_face_name);

}  // namespace leash
