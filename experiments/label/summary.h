// What people's judgements say about the people: who judged what, how far they agree, and whether
// the place or the length of an answer decides.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/label/agreement.h"
#include "experiments/label/judgement.h"
#include "experiments/label/pair.h"
#include "experiments/label/session.h"
#include "rl/statistics/statistics.h"

namespace leash::label {

struct PersonSummary {
  std::string user;
  std::map<Verdict, int64_t> counts;
  int64_t comments = 0;
  std::string first_time, last_time;
  // Of judgements that prefer an answer; intervals are over prompts.
  MeanInterval left;    // share that prefers the one on the left
  MeanInterval longer;  // share that prefers the one with more characters; equal ones do not count
};

struct LabelSummary {
  int64_t pairs = 0;   // that were judged by anybody, skips aside
  int64_t shared = 0;  // by at least two
  std::vector<PersonSummary> people;
  PersonSummary everybody;
  // What is agreed on: the first answer, the second one, a tie, or both bad.
  Agreement krippendorff;
  struct TwoPeople {
    std::string a, b;
    Agreement cohen;
  };
  std::vector<TwoPeople> cohen;  // of every two who share a pair
};

struct Judged {
  const LabelPair* pair = nullptr;
  const Judgement* judgement = nullptr;
};
// `seed` draws the resamples of the intervals.
LabelSummary summarise(const std::vector<Judged>& judged, uint64_t seed);

// Of all that people said in a session so far.
LabelSummary summarise_state(const LabelSession::State& state, uint64_t seed);

std::string summary_text(const LabelSummary& summary);
Json summary_json(const LabelSummary& summary);

}  // namespace leash::label
