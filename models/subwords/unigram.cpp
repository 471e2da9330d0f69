// Viterbi's algorithm from left to right: the best way to every place.
#include "models/subwords/unigram.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/errors.h"
#include "models/text/byte_alphabet.h"
#include "models/text/utf8.h"

namespace leash {
namespace {

// Below the worst score, in nats (both libraries).
constexpr double kUnknownPenalty = 10;
// SentencePiece keeps sums of floats below this, where their rounding is still fine.
constexpr double kResetAt = 100'000;

// What a user-defined token of so many bytes gets.
float user_defined_score(size_t length) {
  return static_cast<float>(0.1 * (static_cast<double>(length) - 1));
}

}  // namespace

// The best way that ends here: its sum, and its last token.
struct Unigram::Node {
  double sum = 0;
  int64_t begin = -1;  // -1: no way yet
  int32_t id = -1;     // -1: unknown
};

struct Unigram::Scratch final : ModelScratch {
  std::vector<Node> best;
  std::vector<std::pair<size_t, size_t>> pieces;  // begin and end, from right to left
};

Unigram::Unigram(const std::vector<UnigramToken>& tokens, const UnigramOptions& options)
    : options_(options) {
  byte_tokens_.fill(-1);
  std::vector<TokenTrie::Entry> spellings;
  double lowest = std::numeric_limits<double>::infinity();
  for (const UnigramToken& token : tokens) {
    if (!std::isfinite(token.score)) {
      throw FormatError(fmt::format("the score of the token '{}' is no number", token.spelling));
    }
    const auto id = static_cast<int32_t>(token.id);
    if (const auto byte = fallback_byte(token.spelling)) byte_tokens_[*byte] = id;
    if (!token.findable) continue;
    spellings.push_back({token.spelling, static_cast<int32_t>(entries_.size())});
    entries_.push_back({token.score, id, token.user_defined});
    if (token.user_defined) continue;
    lowest = std::min(lowest, token.score);
  }
  trie_ = TokenTrie(std::move(spellings));
  unknown_score_ = (std::isfinite(lowest) ? lowest : 0) - kUnknownPenalty;
  if (sums_in_float()) unknown_score_ = static_cast<float>(unknown_score_);
}

double Unigram::sum(double score, double so_far) const {
  return sums_in_float() ? static_cast<float>(score) + static_cast<float>(so_far) : score + so_far;
}

void Unigram::consider(std::string_view word, size_t begin, std::vector<Node>& best) const {
  const size_t character = first_char(word.substr(begin)).length;
  const double so_far = best[begin].sum;
  const auto take = [&](size_t length, double score, int32_t id) {
    Node& target = best[begin + length];
    const double candidate = sum(score, so_far);
    if (target.begin >= 0 && !(candidate > target.sum)) return;
    target = {candidate, static_cast<int64_t>(begin), id};
  };
  bool single = false;
  trie_.for_each_prefix(word.substr(begin), [&](size_t length, int32_t index) {
    const Entry& entry = entries_[static_cast<size_t>(index)];
    const double bonus = sums_in_float() ? user_defined_score(length) : 0;
    take(length, entry.user_defined ? bonus : entry.score, entry.id);
    single = single || length == character;
  });
  if (!single) take(character, unknown_score_, -1);
}

// Only differences count.
void Unigram::reset_sums(size_t begin, std::vector<Node>& best) const {
  const auto so_far = static_cast<float>(best[begin].sum);
  const size_t end = std::min(best.size(), begin + kMaxTokenBytes + 1);
  for (size_t i = begin; i < end; ++i) {
    if (i == begin || best[i].begin >= 0) best[i].sum = static_cast<float>(best[i].sum) - so_far;
  }
}

void Unigram::find_path(std::string_view word, std::vector<Node>& best) const {
  best.assign(word.size() + 1, Node{});
  for (size_t begin = 0; begin < word.size(); begin += first_char(word.substr(begin)).length) {
    if (sums_in_float() && std::abs(best[begin].sum) > kResetAt) reset_sums(begin, best);
    consider(word, begin, best);
  }
}

std::optional<int32_t> Unigram::exactly(std::string_view text) const {
  const auto match = trie_.longest(text);
  if (match.length != text.size()) return std::nullopt;
  return entries_[static_cast<size_t>(match.value)].id;
}

void Unigram::append_unknown(std::string_view text, std::vector<int64_t>& ids) const {
  if (!sums_in_float()) {
    if (const auto id = exactly(text)) {
      ids.push_back(*id);
      return;
    }
  }
  const bool bytes = options_.byte_fallback && std::ranges::all_of(text, [&](char c) {
                       return byte_tokens_[static_cast<uint8_t>(c)] >= 0;
                     });
  if (bytes) {
    for (const char c : text) ids.push_back(byte_tokens_[static_cast<uint8_t>(c)]);
  } else if (options_.unknown) {
    ids.push_back(*options_.unknown);
  } else {
    throw FormatError(
        fmt::format("the tokenizer has neither a token for '{}' nor an unknown token", text));
  }
}

std::unique_ptr<ModelScratch> Unigram::scratch() const { return std::make_unique<Scratch>(); }

void Unigram::encode(std::string_view word, ModelScratch* kept, std::vector<int64_t>& ids) const {
  auto& scratch = static_cast<Scratch&>(*kept);
  auto& best = scratch.best;
  auto& pieces = scratch.pieces;
  find_path(word, best);
  pieces.clear();
  for (size_t end = word.size(); end > 0; end = static_cast<size_t>(best[end].begin)) {
    pieces.emplace_back(static_cast<size_t>(best[end].begin), end);
  }
  const auto unknown = [&](size_t end) {
    return best[end].id < 0 || (options_.unknown && best[end].id == *options_.unknown);
  };
  for (size_t i = pieces.size(); i-- > 0;) {
    auto [begin, end] = pieces[i];
    if (!unknown(end)) {
      ids.push_back(best[end].id);
      continue;
    }
    while (i > 0 && unknown(pieces[i - 1].second)) end = pieces[--i].second;  // a run is one
    append_unknown(word.substr(begin, end - begin), ids);
  }
}

}  // namespace leash
