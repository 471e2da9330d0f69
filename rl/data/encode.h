// Small things that every reader of training texts needs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/tokenizer/tokenizer.h"

namespace leash {

// Length of the prefix that both share.
int64_t common_prefix(const std::vector<int64_t>& a, const std::vector<int64_t>& b);

// Puts the tokenizer's EOS behind the text unless it ends so. WholeFileError where the tokenizer
// names none.
void append_eos(const Tokenizer& tokenizer, std::vector<int64_t>& ids);

}  // namespace leash
