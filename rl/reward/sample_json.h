// A sample as programs and endpoints get it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "rl/reward/sample.h"

namespace leash {

// {"prompt": text, "messages": [{"role", "content"}, …] or null where the prompt is no
// conversation, "answer": text, "ended": bool, "step": number, "row": the prompt's record with
// every column (null where there is none)}, and with `ids` "prompt_ids" and "answer_ids" (the token
// that ended the answer included). `step` counts from 1 while a run trains; in held-out figures it
// is that of the policy (0: before training).
nlohmann::ordered_json sample_json(const RewardSample& sample, bool ids);

// The same on one line; bytes of the answer that are no UTF-8 become U+FFFD.
std::string request_line(const RewardSample& sample, bool ids);

}  // namespace leash
