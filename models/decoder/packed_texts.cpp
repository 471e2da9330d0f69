#include "models/decoder/packed_texts.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace leash {
namespace {

// Sequences end to end. Positions go on where a prefix ends.
class Packer {
 public:
  // Returns the row of the sequence's first token.
  int64_t add(TokenSpan part, int64_t first_position, int64_t prefix) {
    TORCH_CHECK(!part.empty(), "pack_groups: an empty text");
    const int64_t begin = std::ssize(ids_);
    ids_.insert(ids_.end(), part.begin(), part.end());
    for (int64_t i = 0; i < std::ssize(part); ++i) positions_.push_back(first_position + i);
    lengths_.push_back(std::ssize(part));
    prefixes_.push_back(prefix);
    return begin;
  }
  int64_t num_sequences() const { return std::ssize(lengths_); }
  PackedTokens take() {
    const bool shares = std::ranges::any_of(prefixes_, [](int64_t prefix) { return prefix >= 0; });
    return {.ids = at::tensor(ids_, at::kLong),
            .positions = at::tensor(positions_, at::kLong),
            .lengths = std::move(lengths_),
            .prefixes = shares ? std::move(prefixes_) : std::vector<int64_t>{}};
  }

 private:
  std::vector<int64_t> ids_, positions_, lengths_, prefixes_;
};

std::vector<TokenSpan> contexts_of(std::span<const AnswerText> texts) {
  std::vector<TokenSpan> contexts;
  for (const AnswerText& text : texts) {
    TORCH_CHECK(!text.ids.empty(), "pack_answers: an empty text");
    contexts.push_back(text.ids.first(text.ids.size() - 1));
  }
  return contexts;
}

// The prompt of a text that continues its neighbour's; 0 where the two differ.
int64_t common_prompt(const AnswerText& text, const AnswerText& neighbour) {
  if (text.answer_begin != neighbour.answer_begin) return 0;
  const auto length = static_cast<size_t>(text.answer_begin);
  const bool same = std::ranges::equal(text.ids.first(length), neighbour.ids.first(length));
  return same ? text.answer_begin : 0;
}

// Rows that sharing leaves out.
int64_t saved_rows(std::span<const TextGroup> groups) {
  int64_t saved = 0;
  for (const TextGroup& group : groups) saved += group.shared * (group.num_texts - 1);
  return saved;
}

}  // namespace

int64_t shared_prefix(std::span<const TokenSpan> texts) {
  if (texts.size() < 2) return 0;
  auto shared = static_cast<int64_t>(texts[0].size()) - 1;
  for (const TokenSpan text : texts.subspan(1)) {
    shared = std::min(shared, static_cast<int64_t>(text.size()) - 1);
    if (shared < kLeastSharedTokens) return 0;
    shared = std::ranges::mismatch(texts[0].first(shared), text).in1 - texts[0].begin();
  }
  if (shared < kLeastSharedTokens) return 0;
  int64_t total = 0;
  for (const TokenSpan text : texts) total += std::ssize(text);
  const int64_t saved = shared * (std::ssize(texts) - 1);
  return saved * kLeastSavedShare < total ? 0 : shared;
}

PackedTexts pack_groups(std::span<const TokenSpan> texts, std::span<const TextGroup> groups) {
  Packer packer;
  PackedTexts packed;
  for (const TextGroup& group : groups) {
    TORCH_CHECK(std::ssize(packed.places) + group.num_texts <= std::ssize(texts),
                "pack_groups: more texts in groups than there are");
    const auto own = texts.subspan(packed.places.size(), static_cast<size_t>(group.num_texts));
    int64_t prefix = -1, prefix_begin = 0;
    if (group.shared > 0 && !own.empty()) {
      prefix = packer.num_sequences();
      prefix_begin = packer.add(own[0].first(group.shared), 0, -1);
    }
    for (const TokenSpan text : own) {
      packed.places.push_back(
          {.shared = group.shared,
           .prefix_begin = prefix_begin,
           .begin = packer.add(text.subspan(group.shared), group.shared, prefix),
           .length = std::ssize(text)});
    }
  }
  TORCH_CHECK(packed.places.size() == texts.size(), "pack_groups: a text is in no group");
  packed.tokens = packer.take();
  return packed;
}

PackedTexts pack_shared(std::span<const TokenSpan> texts) {
  const TextGroup all{.num_texts = std::ssize(texts), .shared = shared_prefix(texts)};
  return pack_groups(texts, {&all, 1});
}

PackedAnswers pack_answers(std::span<const AnswerText> texts, std::span<const TextGroup> groups) {
  PackedAnswers packed{
      .contexts = pack_groups(contexts_of(texts), groups), .rows = {}, .targets = {}};
  std::vector<int64_t> rows, targets;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto& [ids, answer_begin] = texts[i];
    TORCH_CHECK(answer_begin > 0, "pack_answers: nothing predicts a text's first token");
    for (int64_t place = answer_begin; place < std::ssize(ids); ++place) {
      rows.push_back(packed.contexts.row(static_cast<int64_t>(i), place - 1));
      targets.push_back(ids[static_cast<size_t>(place)]);
    }
  }
  packed.rows = at::tensor(rows, at::kLong);
  packed.targets = at::tensor(targets, at::kLong);
  return packed;
}

PackedAnswers pack_answers(std::span<const AnswerText> texts) {
  const TextGroup all{.num_texts = std::ssize(texts), .shared = shared_prefix(contexts_of(texts))};
  return pack_answers(texts, {&all, 1});
}

std::vector<TextGroup> prompt_groups(std::span<const AnswerText> texts) {
  std::vector<TextGroup> groups;
  for (size_t i = 0; i < texts.size(); ++i) {
    const AnswerText& text = texts[i];
    const int64_t most = std::min<int64_t>(text.answer_begin, std::ssize(text.ids) - 2);
    const int64_t prompt = i > 0 ? common_prompt(text, texts[i - 1]) : 0;
    // A prompt of a few tokens is not worth an attention of its own.
    if (prompt < kLeastSharedTokens + 1) {
      groups.push_back({.num_texts = 1, .shared = 0});
      continue;
    }
    TextGroup& group = groups.back();
    const AnswerText& first = texts[i - static_cast<size_t>(group.num_texts)];
    const int64_t so_far =
        group.num_texts > 1 ? group.shared : std::min<int64_t>(prompt, std::ssize(first.ids) - 2);
    ++group.num_texts;
    group.shared = std::min(so_far, most);
  }
  return groups;
}

PackedAnswers pack_by_prompt(std::span<const AnswerText> texts) {
  const std::vector<TextGroup> groups = prompt_groups(texts);
  const TextGroup all{.num_texts = std::ssize(texts), .shared = shared_prefix(contexts_of(texts))};
  if (saved_rows(groups) <= saved_rows({&all, 1})) return pack_answers(texts, {&all, 1});
  return pack_answers(texts, groups);
}

PackedTokens packed_twice(const PackedTokens& tokens) {
  PackedTokens both{.ids = at::cat({tokens.ids, tokens.ids}),
                    .positions = at::cat({tokens.positions, tokens.positions}),
                    .lengths = tokens.lengths,
                    .prefixes = tokens.prefixes};
  both.lengths.insert(both.lengths.end(), tokens.lengths.begin(), tokens.lengths.end());
  for (const int64_t prefix : tokens.prefixes) {
    both.prefixes.push_back(prefix < 0 ? -1 : prefix + std::ssize(tokens.lengths));
  }
  return both;
}

}  // namespace leash
