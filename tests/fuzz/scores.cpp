// What a reward program printed, and what an endpoint replied.
#include <cmath>
#include <stdexcept>

#include "rl/judges/replies.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

// As many finite numbers as answers, or words about what came instead.
template <class Parse>
void scores_or_words(const Parse& parse, size_t count) {
  try {
    const std::vector<double> scores = parse();
    require(scores.size() == count, "there are as many scores as answers");
    for (const double score : scores) require(std::isfinite(score), "scores are finite");
  } catch (const std::runtime_error&) {  // says what came instead
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view output = text_of(data, size);
  for (const size_t count : {1, 3}) {
    scores_or_words([&] { return parse_scores(output, count); }, count);
    scores_or_words([&] { return parse_score_list(output, count); }, count);
    scores_or_words(  // one line of a persistent program
        [&] { return std::vector<double>{parse_score(output, count - 1)}; }, 1);
  }
  return 0;
}
