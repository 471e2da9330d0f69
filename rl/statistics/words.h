// Words of a text, for rewards and for the measures of a report.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace leash {

// The words of `text` in order. A word is a maximal run of letters, digits and marks (Unicode
// categories L, N and M); an apostrophe (' or ’) between two of them belongs to it. Words come out
// composed (NFC) and case-folded, so that "Straße" and "STRASSE" are equal. Bytes that are no valid
// UTF-8 separate words.
std::vector<std::string> words_of(std::string_view text);

// Different pairs of neighbouring words divided by all such pairs: 1 without repetition. 0 for
// fewer than two words, so that saying nothing is no way to a high share.
double distinct_bigram_share(const std::vector<std::string>& words);

}  // namespace leash
