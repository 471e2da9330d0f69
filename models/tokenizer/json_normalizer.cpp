// tokenizer.json's normalizer: one branch for each kind.
#include <fmt/core.h>

#include "models/errors.h"
#include "models/tokenizer/json_members.h"
#include "models/tokenizer/json_steps.h"

namespace leash {
namespace {

using nlohmann::json;

int base64_value(char c) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const size_t value = kAlphabet.find(c);
  if (value == std::string_view::npos) {
    throw FormatError("precompiled_charsmap is no text in base 64");
  }
  return static_cast<int>(value);
}

std::string from_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    bits = bits << 6 | static_cast<uint32_t>(base64_value(c));
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count);
  }
  return bytes;
}

normalizers::Bert read_bert(const json& step) {
  normalizers::Bert bert;
  bert.clean_text = bool_member(step, "clean_text", true);
  bert.handle_chinese_chars = bool_member(step, "handle_chinese_chars", true);
  bert.lowercase = bool_member(step, "lowercase", true);
  bert.strip_accents = bool_member(step, "strip_accents", bert.lowercase);
  return bert;
}

Normalizer::Step read_normalizer_step(const json& step) {
  const std::string type = type_of(step);
  if (type == "NFC") return normalizers::unicode(UnicodeForm::nfc);
  if (type == "NFD") return normalizers::unicode(UnicodeForm::nfd);
  if (type == "NFKC") return normalizers::unicode(UnicodeForm::nfkc);
  if (type == "NFKD") return normalizers::unicode(UnicodeForm::nfkd);
  if (type == "Lowercase") return normalizers::lowercase();
  if (type == "Strip") {
    return normalizers::strip(bool_member(step, "strip_left", true),
                              bool_member(step, "strip_right", true));
  }
  if (type == "StripAccents") return normalizers::strip_accents();
  if (type == "Replace") {
    return normalizers::replace(json_steps::read_pattern(step), required_string(step, "content"));
  }
  if (type == "Prepend") return normalizers::prepend(required_string(step, "prepend"));
  if (type == "Nmt") return normalizers::nmt();
  if (type == "ByteLevel") return normalizers::byte_level();
  if (type == "BertNormalizer") return normalizers::bert(read_bert(step));
  if (type == "Precompiled") {
    return normalizers::precompiled(std::make_shared<const Charsmap>(
        from_base64(required_string(step, "precompiled_charsmap"))));
  }
  json_steps::refuse("normalizer", type);
}

}  // namespace

Normalizer read_normalizer(const json& normalizer) {
  Normalizer result;
  for (const json& step : json_steps::flattened(normalizer, "normalizers")) {
    // T5's file has one without rules.
    if (type_of(step) == "Precompiled" && member(step, "precompiled_charsmap").is_null()) continue;
    result.add(read_normalizer_step(step));
  }
  return result;
}

}  // namespace leash
