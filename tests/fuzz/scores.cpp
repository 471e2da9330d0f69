// What a reward program printed.
#include <cmath>
#include <stdexcept>

#include "rl/reward/command.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view output = text_of(data, size);
  for (const size_t count : {1, 3}) {
    try {
      const std::vector<double> scores = parse_scores(output, count);
      require(scores.size() == count, "there are as many scores as answers");
      for (const double score : scores) require(std::isfinite(score), "scores are finite");
    } catch (const std::runtime_error&) {  // says what was printed instead
    }
  }
  return 0;
}
