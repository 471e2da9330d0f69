// What comes over HTTP: names, origins, tokens, bodies.
#include "experiments/label/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "models/errors.h"

namespace leash::label {
namespace {

using ::testing::HasSubstr;

TEST(LabelRequest, HostsOfALoopbackServer) {
  const auto allowed = [](const char* host) { return host_allowed(host, "127.0.0.1", "box"); };
  for (const char* host :
       {"127.0.0.1:80", "127.0.0.1", "localhost:9000", "LOCALHOST", "[::1]:5", "127.0.0.2:1"}) {
    EXPECT_TRUE(allowed(host)) << host;
  }
  for (const char* host :
       {"", "evil.com", "evil.com:80", "127.0.0.1.evil.com", "localhost.evil.com", "box:80",
        "10.0.0.1", "[::2]:1", "[::1", "127.evil.com"}) {
    EXPECT_FALSE(allowed(host)) << host;
  }
}

TEST(LabelRequest, HostsOfOtherAddresses) {
  EXPECT_TRUE(host_allowed("10.0.0.1:80", "10.0.0.1", "box"));
  EXPECT_FALSE(host_allowed("10.0.0.2:80", "10.0.0.1", "box"));
  EXPECT_FALSE(host_allowed("evil.com", "10.0.0.1", "box"));
  EXPECT_TRUE(host_allowed("10.0.0.2:80", "0.0.0.0", "box"));
  EXPECT_TRUE(host_allowed("Box:80", "0.0.0.0", "box"));
  EXPECT_TRUE(host_allowed("[fe80::1]:80", "::", "box"));
  EXPECT_FALSE(host_allowed("evil.com:80", "0.0.0.0", "box"));
  EXPECT_FALSE(host_allowed("evil.com:80", "0.0.0.0", ""));
}

TEST(LabelRequest, OriginsOfItsOwnPageAlone) {
  EXPECT_TRUE(origin_allowed("", "localhost:80", ""));
  EXPECT_TRUE(origin_allowed("http://localhost:80", "localhost:80", "same-origin"));
  EXPECT_TRUE(origin_allowed("", "localhost:80", "none"));
  EXPECT_FALSE(origin_allowed("http://evil.com", "localhost:80", ""));
  EXPECT_FALSE(origin_allowed("null", "localhost:80", ""));
  EXPECT_FALSE(origin_allowed("https://localhost:80", "localhost:80", ""));
  EXPECT_FALSE(origin_allowed("http://localhost:81", "localhost:80", ""));
  EXPECT_FALSE(origin_allowed("", "localhost:80", "cross-site"));
  EXPECT_FALSE(origin_allowed("", "localhost:80", "same-site"));
}

TEST(LabelRequest, TokensAreLongAndCompareWhole) {
  std::set<std::string> tokens;
  for (int i = 0; i < 50; ++i) tokens.insert(make_token());
  EXPECT_EQ(tokens.size(), 50u);
  for (const std::string& token : tokens) {
    EXPECT_EQ(token.size(), 43u);
    EXPECT_EQ(
        token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        token.npos);
  }
  const std::map<std::string, std::string> known = {{"abc", "anna"}, {"xyz", "ben"}};
  EXPECT_EQ(user_of_token(known, "abc"), "anna");
  EXPECT_EQ(user_of_token(known, "xyz"), "ben");
  for (const char* token : {"", "ab", "abcd", "abz", "xyc"}) {
    EXPECT_FALSE(user_of_token(known, token)) << token;
  }
}

template <class Parse>
std::string refusal(const Parse& parse) {
  try {
    parse();
  } catch (const FormatError& error) {
    return error.what();
  }
  return "taken";
}

TEST(LabelRequest, BodiesAreReadStrictly) {
  const JudgeRequest said =
      parse_judge_request(R"({"pair": "0123456789abcdef", "verdict": "tie", "comment": "x\n"})");
  EXPECT_EQ(said.pair, "0123456789abcdef");
  EXPECT_EQ(said.verdict, Verdict::tie);
  EXPECT_EQ(said.comment, "x\n");
  const auto judge = [](const std::string& body) {
    return refusal([&] { parse_judge_request(body); });
  };
  EXPECT_THAT(judge("{}"), HasSubstr("`pair` and `verdict` are needed"));
  EXPECT_THAT(judge("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(judge("{"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(judge(R"({"pair": "a", "pair": "b", "verdict": "tie"})"), HasSubstr("occurs twice"));
  EXPECT_THAT(judge(R"({"pair": 1, "verdict": "tie"})"), HasSubstr("`pair` has to be a text"));
  EXPECT_THAT(judge(R"({"pair": "a", "verdict": "best"})"), HasSubstr("unknown verdict best"));
  EXPECT_THAT(judge(R"({"pair": "a", "verdict": "tie", "user": "ben"})"),
              HasSubstr("unknown key user"));
  EXPECT_THAT(judge("{\"pair\": \"a\", \"verdict\": \"tie\", \"comment\": \"" +
                    std::string(kMostComment + 1, 'x') + "\"}"),
              HasSubstr("at most 4000 are taken"));
  EXPECT_THAT(judge(std::string(kMostBody + 1, ' ')), HasSubstr("too large"));
  EXPECT_EQ(parse_undo_request("{}"), "");
  EXPECT_EQ(parse_undo_request(R"({"pair": "a"})"), "a");
  EXPECT_THAT(refusal([] { parse_undo_request(R"({"verdict": "tie"})"); }),
              HasSubstr("unknown key verdict"));
}

}  // namespace
}  // namespace leash::label
