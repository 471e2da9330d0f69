#include "rl/report/moved_tokens.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace leash {
namespace {

// Where each token moved further than any other at that state, and than itself elsewhere.
void remember_place(std::map<int64_t, MovedToken>& places, int64_t id, double moved, size_t text,
                    size_t place) {
  MovedToken& known = places[id];
  if (known.text >= 0 && std::abs(known.moved) >= std::abs(moved)) return;
  known.text = static_cast<int64_t>(text);
  known.place = static_cast<int64_t>(place);
  known.moved = moved;
}

std::vector<MovedToken> furthest(const VocabularyMass& mass, double states, double sign,
                                 const std::map<int64_t, MovedToken>& places, size_t count) {
  std::vector<int64_t> ids(mass.policy.size());
  std::iota(ids.begin(), ids.end(), int64_t{0});
  const auto moved = [&](int64_t id) {
    const auto at = static_cast<size_t>(id);
    return sign * (mass.policy[at] - mass.reference[at]);
  };
  count = std::min(count, ids.size());
  std::ranges::partial_sort(ids, ids.begin() + static_cast<int64_t>(count), [&](auto a, auto b) {
    return moved(a) != moved(b) ? moved(a) > moved(b) : a < b;
  });
  std::vector<MovedToken> tokens;
  for (size_t i = 0; i < count && moved(ids[i]) > 0; ++i) {
    const auto known = places.find(ids[i]);
    MovedToken& token = tokens.emplace_back(known != places.end() ? known->second : MovedToken{});
    token.id = ids[i];
    token.policy = mass.policy[static_cast<size_t>(ids[i])] / states;
    token.reference = mass.reference[static_cast<size_t>(ids[i])] / states;
  }
  return tokens;
}

}  // namespace

MovedTokens moved_tokens(const Divergences& divergences, size_t count) {
  std::map<int64_t, MovedToken> gained, lost;
  double states = 0;
  for (size_t i = 0; i < divergences.texts.size(); ++i) {
    const TextDivergence& text = divergences.texts[i];
    states += static_cast<double>(text.kl.size());
    for (size_t j = 0; j < text.kl.size(); ++j) {
      remember_place(gained, text.gained[j], text.gained_by[j], i, j);
      remember_place(lost, text.lost[j], text.lost_by[j], i, j);
    }
  }
  if (states == 0) return {};
  return {.gained = furthest(divergences.mass, states, 1, gained, count),
          .lost = furthest(divergences.mass, states, -1, lost, count)};
}

MovedNgrams moved_ngrams(std::span<const std::vector<int64_t>> texts,
                         std::span<const TextDivergence> values, size_t n, size_t count) {
  std::map<std::vector<int64_t>, MovedNgram> all;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::vector<int64_t>& ids = texts[i];
    for (size_t j = 0; j + n <= ids.size(); ++j) {
      const std::vector<int64_t> key(ids.begin() + static_cast<int64_t>(j),
                                     ids.begin() + static_cast<int64_t>(j + n));
      MovedNgram& ngram = all[key];
      if (ngram.times++ == 0) {
        ngram.ids = key;
        ngram.text = static_cast<int64_t>(i);
        ngram.place = static_cast<int64_t>(j);
      }
      for (size_t k = j; k < j + n; ++k) {
        ngram.log_ratio += values[i].logprobs[k] - values[i].reference_logprobs[k];
      }
    }
  }
  std::vector<MovedNgram> sorted;
  for (auto& [key, ngram] : all) {
    if (ngram.times > 1) sorted.push_back(std::move(ngram));
  }
  std::ranges::stable_sort(sorted, std::ranges::greater{}, &MovedNgram::log_ratio);
  MovedNgrams moved;
  for (const MovedNgram& ngram : sorted) {
    if (ngram.log_ratio > 0 && moved.liked.size() < count) moved.liked.push_back(ngram);
  }
  for (auto ngram = sorted.rbegin(); ngram != sorted.rend(); ++ngram) {
    if (ngram->log_ratio < 0 && moved.disliked.size() < count) moved.disliked.push_back(*ngram);
  }
  return moved;
}

}  // namespace leash
