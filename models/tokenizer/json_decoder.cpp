// tokenizer.json's decoder: one branch for each kind.
#include "models/errors.h"
#include "models/tokenizer/json_members.h"
#include "models/tokenizer/json_steps.h"

namespace leash {
namespace {

using nlohmann::json;

size_t count_member(const json& step, const char* key) {
  return static_cast<size_t>(size_member(step, key, 0));
}

TextDecoder::Step read_decoder_step(const json& step, bool fused) {
  const std::string type = type_of(step);
  if (type == "ByteLevel") return decoders::byte_level();
  if (type == "Replace") {
    return decoders::replace(json_steps::read_pattern(step), required_string(step, "content"));
  }
  if (type == "ByteFallback") return decoders::byte_fallback();
  if (type == "Strip") {
    auto strip = fused ? &decoders::strip_whole : &decoders::strip;
    return strip(json_steps::read_char(step, "content"), count_member(step, "start"),
                 count_member(step, "stop"));
  }
  if (type == "Metaspace") {
    const auto metaspace = json_steps::read_metaspace(step);
    return decoders::metaspace(metaspace.replacement,
                               metaspace.prepend != pre_tokenizers::Metaspace::Prepend::never);
  }
  if (type == "WordPiece") {
    return decoders::word_piece(string_member(step, "prefix").value_or("##"),
                                bool_member(step, "cleanup", true));
  }
  if (type == "BPEDecoder") {
    return decoders::bpe(string_member(step, "suffix").value_or("</w>"));
  }
  json_steps::refuse("decoder", type);
}

}  // namespace

TextDecoder read_decoder(const json& decoder) {
  TextDecoder result;
  if (decoder.is_null()) {
    result.add(decoders::joined_by_spaces());
    return result;
  }
  for (const json& step : json_steps::flattened(decoder, "decoders")) {
    const std::string type = type_of(step);
    if (type == "Fuse") {
      result.set_fused();
      continue;
    }
    TextDecoder::Step read = read_decoder_step(step, result.fused());
    // Behind Fuse a step sees one token, the whole text; Strip alone can do with its pieces.
    if (result.fused() && type != "Strip") read = decoders::whole(std::move(read));
    result.add(std::move(read));
    if (type == "ByteLevel") result.set_fused();
  }
  return result;
}

}  // namespace leash
