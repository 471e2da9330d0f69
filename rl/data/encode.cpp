#include "rl/data/encode.h"

#include <algorithm>

#include "rl/data/jsonl.h"

namespace leash {

int64_t common_prefix(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  const auto [end, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return end - a.begin();
}

void append_eos(const Tokenizer& tokenizer, std::vector<int64_t>& ids) {
  const auto eos = tokenizer.eos_token_id();
  if (!eos) {
    throw WholeFileError(
        "the tokenizer names no EOS token for data.append_eos; set data.append_eos: false");
  }
  if (ids.empty() || ids.back() != *eos) ids.push_back(*eos);
}

}  // namespace leash
