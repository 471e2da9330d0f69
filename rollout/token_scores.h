// What a row of logits says about the token that came, and about those that were likelier.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "rollout/serving_ticket.h"

namespace leash {

// Row i's log-prob of targets[i] (nats, temperature 1), and its `num_top` likeliest tokens (of
// equal ones the lower id first). Logits are fp32 on the CPU.
std::vector<ScoredToken> score_rows(const at::Tensor& logits /* [rows, vocab] */,
                                    std::span<const int64_t> targets, int64_t num_top);

}  // namespace leash
