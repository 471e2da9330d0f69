// leash score, tokenize and kl-report: the JSON contracts.
#include <cmath>

#include "tests/cli/workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

TEST(Score, NMinusOneEntriesPerText) {
  const Workspace work;
  const std::string input =
      "{\"text\": \"Hello there\"}\n{\"token_ids\": [9, 2, 9]}\n{\"text\": \"x\"}\n{\"text\": "
      "\"\"}\n";
  const Ended ended = work.run("score", {"--input", "-", "--json"}, {.input = input});
  expect_done(ended);
  EXPECT_EQ(ended.err, "");
  const auto lines = json_lines(ended.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["token_ids"], ids_of("Hello there"));
  for (const Json& line : lines) {
    EXPECT_EQ(keys_of(line), (Lines{"entropies", "logprobs", "token_ids"}));
    const size_t entries = std::max<size_t>(line["token_ids"].size(), 1) - 1;
    EXPECT_EQ(line["logprobs"].size(), entries);
    EXPECT_EQ(line["entropies"].size(), entries);
    for (const Json& entropy : line["entropies"]) {
      EXPECT_GT(entropy.get<double>(), 0.0);
      EXPECT_LE(entropy.get<double>(), std::log(static_cast<double>(kTinyVocabulary)) + 1e-5);
    }
  }
  // A text's numbers do not depend on its neighbours.
  const auto alone = json_lines(
      work.run("score", {"--input", "-", "--json"}, {.input = "{\"token_ids\": [9, 2, 9]}\n"}).out);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(alone.at(0)["logprobs"][i].get<double>(), lines[1]["logprobs"][i].get<double>(),
                1e-5);
  }
}

// A completion gets what the whole text says about its last tokens.
TEST(Score, CompletionsBehindTheirPrompts) {
  const Workspace work;
  const auto score = [&](const std::string& line) {
    return work.run("score", {"--input", "-", "--json"}, {.input = line + "\n"});
  };
  const Ended ended = score("{\"prompt\": \"Hello \", \"completion\": \"there\"}");
  expect_done(ended);
  const Json part = json_lines(ended.out).at(0);
  const Json whole = json_lines(score("{\"text\": \"Hello there\"}").out).at(0);
  EXPECT_EQ(part["token_ids"], whole["token_ids"]);
  ASSERT_EQ(part["logprobs"].size(), ids_of("there").size());
  const size_t skipped = whole["logprobs"].size() - part["logprobs"].size();
  for (size_t i = 0; i < part["logprobs"].size(); ++i) {
    EXPECT_NEAR(part["logprobs"][i].get<double>(), whole["logprobs"][skipped + i].get<double>(),
                1e-5);
  }
  expect_error(score("{\"completion\": \"there\"}"), 3, "needs a \"prompt\" beside it");
  expect_error(score("{\"prompt\": \"Hello\"}"), 3, "needs one of");
  expect_error(score("{\"prompt\": \"Hello\", \"completion\": \"\"}"), 3,
               "the completion has no tokens");
}

// The token after a context is normalised over the vocabulary: the probabilities of all 259
// continuations of one context add up to 1, which a shift by one position would break.
TEST(Score, ProbabilitiesOfAllContinuationsAddUpToOne) {
  const Workspace work;
  std::string input;
  for (int64_t token = 0; token < kTinyVocabulary; ++token) {
    input += Json{{"token_ids", {7, 8, token}}}.dump() + "\n";
  }
  const auto lines =
      json_lines(work.run("score", {"--input", "-", "--json"}, {.input = input}).out);
  ASSERT_EQ(lines.size(), static_cast<size_t>(kTinyVocabulary));
  double total = 0, entropy = 0;
  for (const Json& line : lines) {
    const double logprob = line["logprobs"][1];
    total += std::exp(logprob);
    entropy -= std::exp(logprob) * logprob;
  }
  EXPECT_NEAR(total, 1.0, 1e-4);
  EXPECT_NEAR(lines[0]["entropies"][1].get<double>(), entropy, 1e-3);
}

TEST(Score, ContextLimitAndBadInput) {
  const Workspace work;
  const auto score = [&](size_t length) {
    return work.run("score", {"--input", "-", "--json"},
                    {.input = Json{{"text", std::string(length, 'x')}}.dump() + "\n"});
  };
  const Ended fits = score(128);
  expect_done(fits);
  EXPECT_EQ(json_lines(fits.out).at(0)["logprobs"].size(), 127u);
  expect_error(score(129), 3, "129 tokens do not fit the model's context of 128");
  expect_error(work.run("score", {"--input", "-"}, {.input = "{\"prompt\": \"x\"}\n"}), 3,
               "needs one of \"text\", \"token_ids\"");
  expect_error(work.run("score", {"--input", "-", "--dtype", "float8"}), 2, "--dtype must be");
  expect_error(work.run("score", {"--input", "-", "--threads", "0"}), 2, "--threads must be");
}

TEST(Score, DtypeAndTableModes) {
  const Workspace work;
  const std::string input = "{\"text\": \"Hello there\"}\n";
  const auto at = [&](const char* dtype) {
    return json_lines(
               work.run("score", {"--input", "-", "--json", "--dtype", dtype}, {.input = input})
                   .out)
        .at(0);
  };
  const Json exact = at("float64"), plain = at("float32");
  for (size_t i = 0; i < exact["logprobs"].size(); ++i) {
    EXPECT_NEAR(exact["logprobs"][i].get<double>(), plain["logprobs"][i].get<double>(), 1e-4);
  }
  const Ended table = work.run("score", {"--input", "-"}, {.input = input + "{\"text\": \"\"}\n"});
  expect_done(table);
  EXPECT_THAT(table.out, HasSubstr("perplexity"));
  EXPECT_THAT(table.out, HasSubstr("     2       0            -")) << "nothing is scored";
}

TEST(Tokenize, TextsOfAFile) {
  const Workspace work;
  write_text(work / "texts.jsonl", "{\"text\": \"a\\nb\"}\n{\"text\": \"\"}\n");
  const std::string file = (work / "texts.jsonl").string();
  const Ended ended = work.run("tokenize", {"--input", file, "--json"});
  expect_done(ended);
  const auto lines = json_lines(ended.out);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["ids"].size(), 3U);
  EXPECT_TRUE(lines[1]["ids"].empty());
  write_text(work / "texts.jsonl", "{\"text\": \"a\"}\n{\"words\": 3}\n");
  const Ended stopped = work.run("tokenize", {"--input", file});  // what came before is out
  EXPECT_EQ(stopped.code, 3);
  EXPECT_EQ(lines_of(stopped.out).size(), 1U);
  EXPECT_THAT(stopped.err, ::testing::HasSubstr("texts.jsonl:2: needs a \"text\""));
}

TEST(Tokenize, LinesOfStandardInput) {
  const Workspace work;
  const Ended ended =
      work.run("tokenize", {"--json"}, {.input = "ab\n\nx\r\n<|im_end|>y\n\xff\nlast"});
  expect_done(ended);
  const auto lines = json_lines(ended.out);
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines[0], (Json{{"ids", ids_of("ab")}}));
  EXPECT_EQ(lines[1], (Json{{"ids", Json::array()}}));  // empty lines count
  EXPECT_EQ(lines[2]["ids"], ids_of("x\r"));            // split at \n only
  EXPECT_EQ(lines[3]["ids"], (std::vector<int64_t>{2, 3 + 'y'}));
  EXPECT_EQ(lines[4]["ids"], ids_of("\xEF\xBF\xBD"));  // U+FFFD, as Python's "replace"
  EXPECT_EQ(lines[5]["ids"], ids_of("last"));
  expect_done(work.run("tokenize", {}));
}

class KlReport : public ::testing::Test {
 protected:
  KlReport() {
    write_tiny_adapter(work / "a", work.model(), 3, 0.3);
    write_tiny_adapter(work / "b", work.model(), 4, 0.1);
  }
  Ended report(Lines args, const std::string& input) {
    args.insert(args.end(), {"--input", "-", "--out", "out", "--json"});
    return work.run("kl-report", std::move(args), {.input = input});
  }
  Json written() { return Json::parse(read_text(work / "out/report.json")); }

  Workspace work;
};

TEST_F(KlReport, GivenTextsAreScoredAtTheirNMinusOnePositions) {
  const std::string input =
      "{\"text\": \"Hello\"}\n{\"token_ids\": [9, 8, 7]}\n{\"text\": \"Hello\"}\n";
  const Ended ended = report({"--policy", "a", "--policy", "b"}, input);
  expect_done(ended);
  const auto lines = json_lines(ended.out);
  ASSERT_EQ(lines.size(), 2u);
  const Json file = written();
  ASSERT_EQ(file["policies"].size(), 2u);
  for (size_t p = 0; p < 2; ++p) {
    const Json& policy = file["policies"][p];
    EXPECT_EQ(policy, lines[p]);
    ASSERT_EQ(policy["prompts"].size(), 3u);
    EXPECT_EQ(policy["prompts"][0]["kl"].size(), 4u);
    EXPECT_EQ(policy["prompts"][1]["kl"].size(), 2u);
    double sum = 0, tokens = 0;
    for (const Json& prompt : policy["prompts"]) {
      for (const Json& kl : prompt["kl"]) {
        EXPECT_GE(kl.get<double>(), -1e-6);
        sum += kl.get<double>();
        ++tokens;
      }
    }
    EXPECT_NEAR(policy["kl"]["mean_token"].get<double>(), sum / tokens, 1e-6);
    EXPECT_NEAR(policy["kl"]["mean_sequence"].get<double>(), sum / 3, 1e-5);
    EXPECT_TRUE(policy["kl"].contains("ci95"));
    EXPECT_EQ(policy["positions"].size(), 4u);
    for (size_t i = 0; i < 4; ++i) {  // equal texts, equal numbers
      EXPECT_NEAR(policy["prompts"][0]["kl"][i].get<double>(),
                  policy["prompts"][2]["kl"][i].get<double>(), 1e-5);
    }
  }
  EXPECT_GT(lines[0]["kl"]["mean_token"], lines[1]["kl"]["mean_token"]);  // the larger adapter
  EXPECT_TRUE(std::filesystem::exists(work / "out/report.html"));
}

TEST_F(KlReport, APolicyAgainstItselfIsZero) {
  const Ended ended = report({"--policy", "a", "--reference", "a"}, "{\"text\": \"Hello\"}\n");
  expect_done(ended);
  EXPECT_NEAR(json_lines(ended.out).at(0)["kl"]["mean_sequence"].get<double>(), 0.0, 1e-5);
}

TEST_F(KlReport, PromptsAreAnsweredByThePolicy) {
  const Lines args = {"--policy", "a", "--max-new-tokens", "6", "--samples", "2", "--seed", "4"};
  const Ended ended = report(args, "{\"prompt\": \"Hi\"}\n{\"prompt\": \"Yo\"}\n");
  expect_done(ended);
  const Json first = json_lines(ended.out).at(0);
  EXPECT_EQ(first["prompts"].size(), 4u);
  for (const Json& prompt : first["prompts"]) EXPECT_LE(prompt["kl"].size(), 6u);
  EXPECT_EQ(report(args, "{\"prompt\": \"Hi\"}\n{\"prompt\": \"Yo\"}\n").out, ended.out);
}

// The answers are the policy's own, and their KL is that of the same tokens given as a text, at the
// positions behind the prompt.
TEST_F(KlReport, AnswersOfThePolicyHaveTheKlOfTheirText) {
  const auto answer_ids = [&](Lines more) {
    more.insert(more.end(), {"--prompt", "Hi", "--greedy", "--max-new-tokens", "6", "--json"});
    const Json answer = json_lines(work.run("generate", more).out).at(0);
    std::vector<int64_t> ids = answer["prompt_ids"];
    for (const Json& id : answer["token_ids"]) ids.push_back(id);
    return ids;
  };
  const std::vector<int64_t> ids = answer_ids({"--adapter", "a"});
  ASSERT_NE(ids, answer_ids({}));  // else the base's answers would pass
  const Lines args = {"--policy", "a", "--max-new-tokens", "6", "--temperature", "0"};
  const Ended answered = report(args, "{\"prompt\": \"Hi\"}\n");
  expect_done(answered);
  const Json kl = json_lines(answered.out).at(0)["prompts"].at(0)["kl"];
  const Ended scored = report({"--policy", "a"}, Json{{"token_ids", ids}}.dump() + "\n");
  expect_done(scored);
  const Json whole = json_lines(scored.out).at(0)["prompts"].at(0)["kl"];
  ASSERT_EQ(kl.size(), ids.size() - 2);  // the prompt has two tokens
  ASSERT_EQ(whole.size(), ids.size() - 1);
  for (size_t i = 0; i < kl.size(); ++i) {
    EXPECT_NEAR(kl[i].get<double>(), whole[i + 1].get<double>(), 1e-5);
    EXPECT_GT(kl[i].get<double>(), 1e-4);
  }
}

TEST_F(KlReport, BadInput) {
  expect_error(report({"--policy", "nowhere"}, "{\"text\": \"Hello\"}\n"), 3, "nowhere");
  expect_error(report({"--policy", "a"}, ""), 3, "standard input: is empty");
  expect_error(report({"--policy", "a", "--samples", "0"}, ""), 2, "--samples must be 1 to 10000");
  TinyOptions other = tiny_byte_options();
  other.num_layers = 1;
  write_tiny_folder(work / "other", other);
  expect_error(run_leash({"kl-report", "--model", (work / "other").string(), "--policy",
                          (work / "a").string(), "--input", "-", "--out", (work / "o").string()},
                         {.input = "{\"text\": \"Hello\"}\n"}),
               3, (work / "a").string());
}

}  // namespace
}  // namespace leash::testing
