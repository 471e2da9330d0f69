// leash chat on standard input: every answer is the one that generate gives to the same messages.
#include <filesystem>
#include <fstream>

#include "tests/cli/workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// With a penalty on what occurred, the tiny model's answers depend on all that it has read.
const Lines kOptions = {"--greedy", "--repetition-penalty", "10", "--max-new-tokens", "8"};

class Chat : public ::testing::Test {
 protected:
  Ended chat(const std::string& input, const Lines& more = {}) const {
    Lines args = kOptions;
    args.insert(args.end(), more.begin(), more.end());
    const Ended ended = work.run("chat", args, {.input = input});
    expect_done(ended);
    return ended;
  }
  // The answer to messages that alternate between user and assistant, a system message in front.
  std::string answer(const Lines& texts, const std::string& system = "") const {
    Json messages = Json::array();
    if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
    for (size_t i = 0; i < texts.size(); ++i) {
      messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", texts[i]}});
    }
    Lines args = kOptions;
    args.insert(args.end(), {"--json", "--input", "-"});
    const Ended ended =
        work.run("generate", args, {.input = Json{{"messages", messages}}.dump() + "\n"});
    expect_done(ended);
    return json_lines(ended.out).at(0)["text"];
  }

  Workspace work;
};

TEST_F(Chat, ATurnSeesThoseBeforeItUntilReset) {
  const std::string first = answer({"Hi"}), alone = answer({"Go on"});
  const std::string second = answer({"Hi", first, "Go on"});
  ASSERT_NE(second, alone);
  EXPECT_EQ(chat("Hi\n\nGo on\n/reset\nGo on\n").out, first + "\n" + second + "\n" + alone + "\n");
  EXPECT_EQ(chat("Hi\n/exit\nGo on\n").out, first + "\n");
  EXPECT_EQ(chat("Hi").out, first + "\n") << "the end of the input ends it too";
  EXPECT_EQ(chat("").out, "");
}

TEST_F(Chat, TheSystemMessageSurvivesAReset) {
  const std::string first = answer({"Hi"}, "Be kind.");
  ASSERT_NE(first, answer({"Hi"}));
  EXPECT_EQ(chat("Hi\n/reset\nHi\n", {"--system", "Be kind."}).out, first + "\n" + first + "\n");
}

TEST_F(Chat, AMessageThatDoesNotFitIsRefusedAndForgotten) {
  const Ended ended = chat(std::string(130, 'x') + "\nHi\n");
  EXPECT_THAT(ended.err, HasSubstr("That message alone does not fit the model's context."));
  EXPECT_EQ(ended.out, answer({"Hi"}) + "\n");
  EXPECT_THAT(chat("Hi\n").err, Not(HasSubstr("does not fit")));
}

// Of 128 tokens: the second message leaves room for its own answer only without the first.
TEST_F(Chat, TheOldestTurnsAreLeftOutWhenTheContextIsFull) {
  const std::string first(60, 'a'), second(40, 'b');
  const std::string begin = answer({first});
  EXPECT_EQ(chat(first + "\n" + second + "\n").out, begin + "\n" + answer({second}) + "\n");
}

// Nothing waits in a buffer: the first answer is there while the program waits for more to read.
TEST_F(Chat, AnAnswerIsPrintedBeforeTheNextMessageIsRead) {
  const std::string fifo = (work / "in").string(), out = (work / "out").string();
  std::string command =
      "mkfifo " + fifo + "; " + leash_command({})[0] + " chat --model " + work.model().string();
  for (const std::string& option : kOptions) command += " " + option;
  command += " <" + fifo + " >" + out;
  Process process({"/bin/sh", "-c", command}, {.environment = {{"OMP_NUM_THREADS", "1"}}});
  ASSERT_TRUE(process.wait_until([&] { return std::filesystem::exists(fifo); }));
  std::ofstream input(fifo);
  input << "Hi\n" << std::flush;
  const std::string expected = answer({"Hi"}) + "\n";
  EXPECT_TRUE(process.wait_until(
      [&] { return std::filesystem::exists(out) && read_text(out) == expected; }));
  EXPECT_TRUE(process.running());
  input.close();
  expect_done(process.wait());
}

}  // namespace
}  // namespace leash::testing
