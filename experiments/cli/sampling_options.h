// How tokens are drawn: the options that generate and chat share.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <cstdint>

#include "experiments/cli/options.h"
#include "models/io/checkpoint.h"
#include "rollout/engine.h"

namespace leash::cli {

void add_sampling_options(boost::program_options::options_description& options,
                          int64_t max_new_tokens);

// Reads them, and adds to `problems`. Tokens that end an answer are left to the caller, who knows
// the model.
GenerationConfig read_sampling_options(const boost::program_options::variables_map& values,
                                       OptionProblems& problems);

// Where neither an option nor --greedy says how to draw, the checkpoint's advice does, else
// `otherwise` (sampling_defaults.h). Says on standard error what is in effect.
void settle_sampling(const boost::program_options::variables_map& values,
                     const Checkpoint& checkpoint, const SamplingConfig& otherwise,
                     SamplingConfig& config);

}  // namespace leash::cli
