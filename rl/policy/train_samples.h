// Training answers as lines of samples.jsonl.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rl/data/prompts.h"
#include "rl/run/run_log.h"
#include "rollout/experience.h"

namespace leash {

// The first `most` rows of an iteration, which hold whole groups: what was asked and answered, the
// score (penalties included) and that of each source alone, KL (nats, the sum over the answer's
// tokens; absent where the reference was not asked) and the mean advantage of its tokens.
std::vector<SampleRecord> train_samples(const Experience& experience,
                                        const std::vector<PromptRecord>& prompts,
                                        const std::vector<std::string>& labels, int64_t step,
                                        int64_t most);

}  // namespace leash
