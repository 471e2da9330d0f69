// A request's body, as both of the server's readers of them take it.
#include "experiments/cli/serve/requests.h"

#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

template <class Read>
void read(const Read& read_body) {
  read_or_refuse([&] {
    try {
      const cli::AnswerOptions options = read_body().options;
      require(options.n >= 1 && options.n <= cli::kMostAnswers, "answers have a bound");
      require(options.sampling.top_p > 0 && options.sampling.top_p <= 1, "a mass is one");
      require(options.sampling.temperature >= 0, "a temperature is one");
      for (const std::string& stop : options.stop_texts) require(!stop.empty(), "a stop has text");
    } catch (const cli::RequestError& error) {
      require(error.status >= 400 && error.status < 500, "the client is to blame");
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body = text_of(data, size);
  read([&] { return cli::parse_completion(body, {}); });
  read([&] { return cli::parse_chat(body, {}); });
  return 0;
}
