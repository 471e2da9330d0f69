// What a policy answers to held-out prompts, for people to read, and how far it is from the
// reference there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rl/preference/policy.h"
#include "rl/run/run_log.h"

namespace leash {

struct HeldOutPrompt {
  std::vector<int64_t> ids;
  std::string text;   // what was asked
  int64_t index = 0;  // of its record
};

// Greedy answers of at most 64 tokens, each with its exact KL(policy ‖ reference), nats, summed
// over its positions. One rank does it for all.
std::vector<SampleRecord> answer_prompts(const PolicyBesideReference& policy,
                                         const std::vector<HeldOutPrompt>& prompts, int64_t step,
                                         int64_t micro_batch_tokens);

}  // namespace leash
