// Dynamic sampling (DAPO: Yu et al. 2025, eq. 11): a group whose answers all have the same score
// teaches nothing, so answers to other prompts take its place.
#pragma once

#include <cstdint>
#include <vector>

#include "rl/policy/judging.h"

namespace leash {

// Groups of `judged`, in the order of their rows, whose scores (of the sources, before penalties)
// are not all alike.
int64_t num_groups_with_signal(const std::vector<JudgedAnswer>& judged, int64_t group_size);

// `wanted` groups: those with signal in the order in which they were sampled, then others in theirs
// where they do not suffice. Rows are numbered again from 0.
std::vector<JudgedAnswer> choose_groups(std::vector<JudgedAnswer> judged, int64_t group_size,
                                        int64_t wanted);

}  // namespace leash
