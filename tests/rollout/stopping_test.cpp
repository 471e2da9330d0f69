// Why answers end, and the text that is left then.
#include "rollout/stopping.h"

#include <gtest/gtest.h>

#include "tests/rollout/tiny_tokenizer.h"

namespace leash {
namespace {

using testing::tiny_id;
using testing::tiny_tokenizer;

const Tokenizer& tokenizer() {
  static const Tokenizer tokenizer = tiny_tokenizer();
  return tokenizer;
}

struct Ended {
  std::optional<StopReason> reason;
  size_t num_tokens = 0;
  std::string text;
};

// Pushes tokens until one ends the answer.
Ended follow(const GenerationConfig& config, const std::vector<std::string>& tokens,
             int64_t room = 1000) {
  StopCheck check(config, &tokenizer(), room);
  Ended ended;
  for (const std::string& token : tokens) {
    ++ended.num_tokens;
    ended.reason = check.push(tiny_id(token));
    if (ended.reason) break;
  }
  ended.text = check.finish();
  return ended;
}

TEST(StopTextFinder, FindsTextsThatSpanPieces) {
  StopTextFinder finder({"END", "stop here"});
  EXPECT_FALSE(finder.push("go on, E"));
  EXPECT_FALSE(finder.push("N"));
  EXPECT_FALSE(finder.push("d, sto"));
  EXPECT_FALSE(finder.push("p "));
  EXPECT_TRUE(finder.push("hereafter"));
  EXPECT_EQ(finder.text(), "go on, ENd, ");
}

TEST(StopTextFinder, CutsAtTheEarliestStart) {
  StopTextFinder finder({"bc", "abcd"});
  EXPECT_TRUE(finder.push("xabcdy"));
  EXPECT_EQ(finder.text(), "x");
  StopTextFinder one({"aa"});
  EXPECT_FALSE(one.push("a"));
  EXPECT_TRUE(one.push("a"));
  EXPECT_EQ(one.text(), "");
}

TEST(StopTextFinder, LooksOnlyWhenItMay) {
  StopTextFinder finder({"ab"});
  EXPECT_FALSE(finder.push("abab", false));
  EXPECT_FALSE(finder.push("c")) << "what came before stays allowed";
  EXPECT_FALSE(finder.push("a", false));
  EXPECT_TRUE(finder.push("b")) << "it ends where it may";
  EXPECT_EQ(finder.text(), "ababc");
  EXPECT_ANY_THROW(StopTextFinder({"x", ""}));
}

TEST(StopCheck, NamesTheReason) {
  GenerationConfig config;
  config.max_new_tokens = 4;
  config.eos_token_ids = {2};
  config.stop_token_ids = {tiny_id("Z")};
  const auto eos = follow(config, {"a", "b", "<end>", "c"});
  EXPECT_EQ(eos.reason, StopReason::eos);
  EXPECT_EQ(eos.num_tokens, 3u);
  EXPECT_EQ(eos.text, "ab");
  const auto token = follow(config, {"a", "Z", "c"});
  EXPECT_EQ(token.reason, StopReason::stop_token);
  EXPECT_EQ(token.text, "a") << "without the ending token";
  const auto length = follow(config, {"a", "Ġ", "b", "c", "d"});
  EXPECT_EQ(length.reason, StopReason::length);
  EXPECT_EQ(length.text, "a bc");
  EXPECT_EQ(follow(config, {"a", "b", "c", "d"}, 3).reason, StopReason::context);
  EXPECT_EQ(follow(config, {"a", "b", "c", "d"}, 3).num_tokens, 3u);
  EXPECT_EQ(follow(config, {"a", "b", "c", "d"}, 4).reason, StopReason::length);
  EXPECT_EQ(follow(config, {"a", "b", "c", "<end>"}, 4).reason, StopReason::eos);
  EXPECT_EQ(follow(config, {"a", "b"}).reason, std::nullopt);
  config.eos_token_ids = {};
  EXPECT_EQ(follow(config, {"a", "<end>", "b", "c"}).text, "abc") << "special tokens have no text";
}

TEST(StopCheck, StopTextsSpanAndCutTokens) {
  GenerationConfig config;
  config.stop_texts = {"bst", "éx"};
  const auto cut = follow(config, {"c", "ab", "stop", "d"});  // ca|bst|op
  EXPECT_EQ(cut.reason, StopReason::stop_text);
  EXPECT_EQ(cut.num_tokens, 3u);
  EXPECT_EQ(cut.text, "ca");
  const auto bytes = follow(config, {"a", "Ã", "©", "x", "b"});
  EXPECT_EQ(bytes.reason, StopReason::stop_text);
  EXPECT_EQ(bytes.num_tokens, 4u);
  EXPECT_EQ(bytes.text, "a");
}

TEST(StopCheck, AnUnfinishedCharacterIsReplaced) {
  GenerationConfig config;
  config.max_new_tokens = 2;
  config.eos_token_ids = {2};
  EXPECT_EQ(follow(config, {"a", "Ã"}).text, "a\uFFFD");
  EXPECT_EQ(follow(config, {"Ã", "<end>"}).text, "\uFFFD");
}

TEST(StopCheck, ASpecialTokenMayBeAStopText) {
  GenerationConfig config;
  config.stop_texts = {"<end>"};
  const auto ended = follow(config, {"a", "<end>", "b"});
  EXPECT_EQ(ended.reason, StopReason::stop_text);
  EXPECT_EQ(ended.text, "a");
  EXPECT_EQ(ending_tokens(config, &tokenizer()), std::vector<int64_t>{2});
  config.stop_texts = {"stop"};  // an ordinary token: looked for as text
  EXPECT_TRUE(ending_tokens(config, &tokenizer()).empty());
}

TEST(StopCheck, StopTextsWaitForMinNewTokens) {
  GenerationConfig config;
  config.stop_texts = {"b"};
  config.min_new_tokens = 3;
  const auto late = follow(config, {"a", "b", "c", "b"});
  EXPECT_EQ(late.num_tokens, 4u);
  EXPECT_EQ(late.text, "abc");
}

TEST(StopCheck, WorksWithoutATokenizer) {
  GenerationConfig config;
  config.eos_token_ids = {7};
  config.max_new_tokens = 3;
  StopCheck check(config, nullptr, 10);
  EXPECT_EQ(check.push(1), std::nullopt);
  EXPECT_EQ(check.push(7), StopReason::eos);
  EXPECT_EQ(check.finish(), "");
  config.stop_texts = {"x"};
  EXPECT_ANY_THROW(StopCheck(config, nullptr, 10));
}

TEST(StopCheck, TokensThatTheTokenizerDoesNotKnowHaveNoText) {
  GenerationConfig config;
  config.stop_texts = {"b"};
  StopCheck check(config, &tokenizer(), 10);
  EXPECT_EQ(check.push(tiny_id("a")), std::nullopt);
  EXPECT_EQ(check.push(1000), std::nullopt);
  EXPECT_EQ(check.finish(), "a");
}

}  // namespace
}  // namespace leash
