// What a supervised model answers to held-out prompts, for people to read.
#pragma once

#include <cstdint>
#include <vector>

#include "rl/run/run_log.h"
#include "rl/sft/update.h"

namespace leash {

// Greedy answers of at most 64 tokens to the first `count` samples that have a prompt.
std::vector<SampleRecord> answer_held_out(const SftModel& model,
                                          const std::vector<SftSample>& samples, int64_t count,
                                          int64_t step);

}  // namespace leash
