// The same contracts with the real model that set-up installed.
#include <cmath>

#include "tests/cli/workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

TEST(SmolLM2, TokenizesChatsAndScores) {
  const ProcessOptions lines{.input = "Hello there\n\n 12\n"};
  const Ended tokens = run_leash({"tokenize", "--model", "smollm2", "--json"}, lines);
  expect_done(tokens);
  const auto ids = json_lines(tokens.out);
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[1]["ids"], Json::array());

  const Ended chat =
      run_leash({"generate", "--model", smollm2().string(), "--chat", "--greedy", "--prompt",
                 "What is the capital of France?", "--max-new-tokens", "12", "--json"});
  expect_done(chat);
  const Json answer = json_lines(chat.out).at(0);
  EXPECT_THAT(answer["text"].get<std::string>(), HasSubstr("Paris"));
  EXPECT_EQ(answer["stop"], "eos");
  EXPECT_EQ(answer["token_ids"].back(), 2);
  EXPECT_EQ(answer["token_ids"].size(), answer["logprobs"].size());
  EXPECT_THAT(answer["text"].get<std::string>(), ::testing::Not(HasSubstr("<|im_end|>")));

  std::vector<int64_t> all = answer["prompt_ids"];
  for (const Json& id : answer["token_ids"]) all.push_back(id);
  const Ended scored = run_leash({"score", "--model", "smollm2", "--input", "-", "--json"},
                                 {.input = Json{{"token_ids", all}}.dump() + "\n"});
  expect_done(scored);
  const Json scores = json_lines(scored.out).at(0);
  ASSERT_EQ(scores["logprobs"].size(), all.size() - 1);
  const size_t prompt = answer["prompt_ids"].size();
  for (size_t i = 0; i < answer["logprobs"].size(); ++i) {
    EXPECT_NEAR(answer["logprobs"][i].get<double>(),
                scores["logprobs"][prompt - 1 + i].get<double>(), 1e-3);
  }
}

}  // namespace
}  // namespace leash::testing
