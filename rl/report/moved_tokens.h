// What a policy now says and no longer says: tokens and n-grams whose probability moved most, with
// places to read. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rollout/divergence.h"

namespace leash {

// A token by its probability summed over all states of the texts, divided by their number.
struct MovedToken {
  int64_t id = 0;
  double policy = 0;  // mean probability
  double reference = 0;
  // Where it moved most, of the states at which no token moved further: text, and the token's place
  // behind answer_begin. -1: at no state was it the first.
  int64_t text = -1;
  int64_t place = -1;
  double moved = 0;  // p - q there

  double difference() const { return policy - reference; }
};

struct MovedTokens {
  std::vector<MovedToken> gained, lost;  // the furthest first
};
MovedTokens moved_tokens(const Divergences& divergences, size_t count);

// n neighbours of the scored tokens, by the log-ratio of their tokens summed over all places.
struct MovedNgram {
  std::vector<int64_t> ids;
  int64_t times = 0;
  double log_ratio = 0;  // Σ over places and tokens of log p - log q
  int64_t text = 0;      // the first place
  int64_t place = 0;
};
struct MovedNgrams {
  std::vector<MovedNgram> liked, disliked;  // by the policy
};
// `texts` are the scored tokens of each text. n-grams that stand once are left out: they are their
// text.
MovedNgrams moved_ngrams(std::span<const std::vector<int64_t>> texts,
                         std::span<const TextDivergence> values, size_t n, size_t count);

}  // namespace leash
