// From scores to per-token rewards. Pure functions on [batch, time] tensors; `mask` is 1 (true) on
// answer tokens, which start at column 0 and have no holes.
#pragma once

#include <ATen/core/Tensor.h>

namespace leash {

// Column where the score lands.
enum class ScorePosition {
  last_token,  // the answer's last token, EOS included (leash, OpenRLHF, verl)
  after_last,  // one past it where the row has room (TRL's PPO)
};

// -kl_coef · kl on every answer token, plus the score at one of them (eq. 2 of Ziegler et al.
// 2019). [batch, time]
at::Tensor shape_rewards(const at::Tensor& scores /* [batch] */,
                         const at::Tensor& kl /* [batch, time] */,
                         const at::Tensor& mask /* [batch, time] bool */, double kl_coef,
                         ScorePosition position = ScorePosition::last_token);

// Subtracts `penalty` from the score of every answer that did not end by itself. [batch]
at::Tensor penalise_missing_eos(const at::Tensor& scores /* [batch] */,
                                const at::Tensor& ended /* [batch] bool */, double penalty);

// DAPO's soft overlong punishment (Yu et al. 2025, eq. 13) times `factor`, to be subtracted: 0 up
// to `longest - buffer` tokens, from there rising by the token to `factor` at `longest`. [batch]
at::Tensor overlong_penalties(const at::Tensor& lengths /* [batch] */, int64_t longest,
                              int64_t buffer, double factor);

}  // namespace leash
