// Functions of what an answer's text is like.
#pragma once

#include "rl/reward/config.h"
#include "rl/reward/scorer.h"

namespace leash {

// 1 where `pattern` (or the column's) matches anywhere in the answer, else 0.
Scorer regex_reward(const RewardConfig& config);

// 1 where the answer is JSON (rl/answers/shape.h) that fits `schema` (or the column's: an object,
// or its text), else 0.
Scorer json_schema_reward(const RewardConfig& config);

// -max(0, |L - target| - tolerance), see functions.h.
Scorer length_reward(const RewardConfig& config);

// -(1 - different n-grams / n-grams) of the answer's words, tokens or characters: 0 where nothing
// is said twice, and for fewer than n units; towards -1 for one n-gram all over.
Scorer repetition_reward(const RewardConfig& config);

// The mean over W of a word's value: that of `lexicon`, 1 for `words`, 0 for others; of an answer
// without words 0. The column is a list of words (1 each), or an object of values.
Scorer lexicon_reward(const RewardConfig& config);

// The part of the answer's letters (Unicode's L) that is in one of the scripts, by Unicode's
// Script_Extensions; 0 without letters. The column is a script's name, or a list of them.
Scorer language_reward(const RewardConfig& config);

Scorer distinct_words_reward(const RewardConfig& config);
Scorer distinct_bigrams_reward();

}  // namespace leash
