// What commands read: conversations, texts, and files that are none.
#include "tests/cli/workspace.h"
#include "tests/rl/byte_tokenizer.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

const std::string kEndsWithAssistant =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, "
    "{\"role\": \"assistant\", \"content\": \"Hel\"}]}\n";

TEST(Input, AConversationThatEndsWithTheAssistantIsRefusedOrContinued) {
  const Workspace work;
  const Lines args = {"--input", "-", "--json", "--max-new-tokens", "2"};
  const Ended refused = work.run("generate", args, {.input = kEndsWithAssistant});
  expect_error(refused, 3, "standard input:1: the conversation ends with a message of the assist");
  Lines more = args;
  more.emplace_back("--continue-final-message");
  const Ended continued = work.run("generate", more, {.input = kEndsWithAssistant});
  expect_done(continued);
  std::vector<int64_t> ids = json_lines(continued.out).at(0)["prompt_ids"];
  const auto end = ids_of("assistant\nHel");
  ASSERT_GT(ids.size(), end.size());
  EXPECT_TRUE(std::equal(end.rbegin(), end.rend(), ids.rbegin()));
  // A list as prompt is the same conversation.
  std::string list = kEndsWithAssistant;
  list.replace(list.find("messages"), 8, "prompt");
  const Ended same = work.run("generate", more, {.input = list});
  expect_done(same);
  EXPECT_EQ(same.out, continued.out);
}

TEST(Input, KlReportScoresCompletionsBehindTheirPrompts) {
  const Workspace work;
  write_tiny_adapter(work / "a", work.model(), 3, 0.3);
  const auto kl = [&](const std::string& line) {
    const Ended ended =
        work.run("kl-report", {"--policy", "a", "--input", "-", "--out", "out", "--json"},
                 {.input = line + "\n"});
    expect_done(ended);
    return json_lines(ended.out).at(0)["prompts"].at(0)["kl"];
  };
  const Json whole = kl("{\"text\": \"Hello\"}");
  const Json completion = kl("{\"prompt\": \"He\", \"completion\": \"llo\"}");
  ASSERT_EQ(whole.size(), 4u);
  ASSERT_EQ(completion.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(completion[i].get<double>(), whole[i + 1].get<double>(), 1e-5);
  }
  expect_error(work.run("kl-report", {"--policy", "a", "--input", "-", "--out", "out"},
                        {.input = kEndsWithAssistant}),
               3, "standard input:1: the conversation ends with a message of the assistant");
}

TEST(Input, ASecondBosIsLeftOutWithOneWarning) {
  const Workspace work;
  write_text(work.model() / "tokenizer.json", byte_tokenizer_with_template_json());
  write_text(work.model() / "tokenizer_config.json", "{\"bos_token\": \"<|im_start|>\"}");
  const Ended ended =
      work.run("score", {"--input", "-", "--json"},
               {.input = "{\"text\": \"<|im_start|>x\"}\n{\"text\": \"<|im_start|>y\"}\n"});
  expect_done(ended);
  EXPECT_EQ(json_lines(ended.out).at(0)["token_ids"], (std::vector<int64_t>{1, 3 + 'x', 2}));
  const size_t first = ended.err.find("a text begins with <|im_start|>");
  ASSERT_NE(first, std::string::npos) << ended.err;
  EXPECT_EQ(ended.err.find("a text begins with", first + 1), std::string::npos);
}

TEST(Input, OneReaderForEveryCommand) {
  using namespace std::string_literals;
  const Workspace work;
  write_tiny_adapter(work / "a", work.model(), 3, 0.3);
  const std::pair<std::string, const char*> kBad[] = {
      {"{\"text\": \"x\"}\n{\"text\": 1e999}\n", "standard input:2: is not valid JSON"},
      {"{\"text\": \"x\"}\0\n"s, "standard input:1: a zero byte"},
      {"{\"text\": \"x\", \"text\": \"y\"}\n", "standard input:1: the key \"text\" occurs twice"},
      {"{\"text\": \"x\"}{\"text\": \"y\"}\n", "standard input:1: is not valid JSON"},
      {"[{\"text\": \"x\"}]\n", "standard input: is a JSON array"},
      {"\x1f\x8b\x08", "standard input: is compressed with gzip"},
      {"{\"text\": \"" + std::string(17 << 20, 'x') + "\"}\n",
       "standard input:1: the line is longer than 16 MiB"},
      {"{\"text\": \"" + std::string(15 << 20, 'x') + "\"}\n",
       "standard input:1: 15,728,640 bytes of text do not fit into 128 tokens"}};
  for (const auto& [input, problem] : kBad) {
    expect_error(work.run("score", {"--input", "-"}, {.input = input}), 3, problem);
    expect_error(
        work.run("kl-report", {"--policy", "a", "--input", "-", "--out", "o"}, {.input = input}), 3,
        problem);
  }
  EXPECT_THAT(work.run("generate", {"--input", "/dev/zero"}).err, HasSubstr("is no regular file"));
  expect_error(run_leash({"tokenize", "--model", work.model().string()},
                         {.input = std::string(17 << 20, 'x')}),
               3, "standard input:1: the line is longer");
}

TEST(Input, KeysThatNobodyReadsAreNamed) {
  const Workspace work;
  const Ended ended =
      work.run("score", {"--input", "-", "--json"},
               {.input = "{\"text\": \"ab\", \"label\": 1}\n{\"text\": \"cd\", \"label\": 2}\n"});
  expect_done(ended);
  EXPECT_EQ(ended.err, "leash: warning: standard input: nothing here reads `label` (line 1)\n");
}

}  // namespace
}  // namespace leash::testing
