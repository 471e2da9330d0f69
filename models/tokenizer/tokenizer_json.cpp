// Hugging Face's tokenizer.json, with the files beside it.
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/tokenizer/json_members.h"
#include "models/tokenizer/json_model.h"
#include "models/tokenizer/json_steps.h"
#include "models/tokenizer/tokenizer_config.h"
#include "models/tokenizer/tokenizer_parts.h"

namespace leash {

TokenizerParts load_tokenizer_json(const std::filesystem::path& folder) {
  const nlohmann::json document = read_json_file(folder / "tokenizer.json");
  if (!document.is_object()) {
    throw FormatError((folder / "tokenizer.json").string() + ": it holds no JSON object");
  }
  const TokenizerConfig config(folder);

  TokenizerParts parts;
  parts.normalizer = read_normalizer(member(document, "normalizer"));
  ReadPreTokenizer pre_tokenizer = read_pre_tokenizer(member(document, "pre_tokenizer"));
  ReadModel read = read_json_model(member(document, "model"), pre_tokenizer.ends_in_bytes);
  if (pre_tokenizer.ends_in_bytes && !read.takes_bytes) {
    pre_tokenizer.steps.add(pre_tokenizers::byte_level());
  }
  parts.vocabulary = std::move(read.vocabulary);
  parts.model = std::move(read.model);
  parts.pre_tokenizer = std::move(pre_tokenizer.steps);
  set_added_tokens(parts, config.added_tokens(member(document, "added_tokens")));
  parts.decoder = read_decoder(member(document, "decoder"));

  SurroundingTokens around = read_post_processor(member(document, "post_processor"));
  for (const std::vector<int64_t>* ids : {&around.before, &around.behind}) {
    for (const int64_t id : *ids) known_id(parts, id, "a token of the post_processor");
  }
  parts.prefix = std::move(around.before);
  parts.suffix = std::move(around.behind);
  config.apply(parts);
  return parts;
}

}  // namespace leash
