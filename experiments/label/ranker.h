// Offers first what the reward model trained so far is least sure of (uncertainty sampling, Lewis
// and Gale 1994; of pairs, as Gleave and Irving 2022 try it for reward models).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>

#include "experiments/label/session.h"
#include "rl/reward_model/config.h"

namespace leash::label {

struct RankerOptions {
  RewardSetup recipe;            // data.train and data.eval are replaced
  int64_t every = 20;            // judgements between two trainings
  std::filesystem::path folder;  // of the trainings: round-1, round-2, …
  size_t most = 512;             // pairs that are scored at a time
};

// Until the session stops: waits for `every` more judgements, trains a reward model on all
// preferences so far (ties and both-bad ones aside), scores what is still open, and orders it by
// |score of one answer - score of the other|, the smallest first; round-N.ranked.json says when the
// order of round N holds. Messages go to standard error;
// a training that fails is one of them, and the order stays what it was.
void rank_by_uncertainty(LabelSession& session, const RankerOptions& options);

}  // namespace leash::label
