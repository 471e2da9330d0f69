#include "rl/data/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "models/grouped_digits.h"
#include "rl/data/data_warning.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

// The longest normalised form of a text has a third of its bytes; and a short text costs nothing.
constexpr size_t kNormalisation = 4;
constexpr size_t kShort = size_t{1} << 16;

size_t longest_token(const Tokenizer& tokenizer) {
  size_t longest = 1;
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
    longest = std::max(longest, tokenizer.token_bytes(id).size());
  }
  return longest;
}

// Whether the tokenizer puts BOS before a text by itself.
bool adds_bos(const Tokenizer& tokenizer) {
  const std::vector<int64_t> added = tokenizer.encode_with_special("");
  return tokenizer.bos_token_id() && !added.empty() && added[0] == *tokenizer.bos_token_id();
}

}  // namespace

std::vector<int64_t> encode_text(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int64_t> ids = tokenizer.encode_with_special(text);
  const bool twice = ids.size() > 1 && ids[0] == ids[1] && tokenizer.bos_token_id() == ids[0];
  if (!twice || !adds_bos(tokenizer)) return ids;
  ids.erase(ids.begin());
  static std::atomic_flag said;
  if (!said.test_and_set()) {
    data_warning(fmt::format(
        "a text begins with {}, which the tokenizer puts before every text: it gets no second one",
        tokenizer.token_bytes(ids[0])));
  }
  return ids;
}

TextBound::TextBound(const Tokenizer& tokenizer, int64_t most_tokens)
    : most_tokens_(std::max<int64_t>(most_tokens, 0)),
      most_bytes_(std::max(
          kShort, kNormalisation * longest_token(tokenizer) * static_cast<size_t>(most_tokens_))) {}

void TextBound::check(size_t bytes) const {
  if (bytes <= most_bytes_) return;
  throw FormatError(fmt::format("{} bytes of text do not fit into {} tokens",
                                grouped_digits(static_cast<int64_t>(bytes)), most_tokens_));
}

void TextBound::check(std::string_view text) const { check(text.size()); }

void TextBound::check(std::span<const ChatMessage> messages) const {
  size_t bytes = 0;
  for (const ChatMessage& message : messages) bytes += message.content.size();
  check(bytes);
}

int64_t common_prefix(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  const auto [end, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return end - a.begin();
}

void append_eos(const Tokenizer& tokenizer, std::vector<int64_t>& ids) {
  const auto eos = tokenizer.eos_token_id();
  if (!eos) {
    throw WholeFileError(
        "the tokenizer names no EOS token for data.append_eos; set data.append_eos: false");
  }
  if (ids.empty() || ids.back() != *eos) ids.push_back(*eos);
}

}  // namespace leash
