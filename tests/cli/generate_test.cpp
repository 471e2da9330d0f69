// leash generate: the JSON contract, seeds, stops, and input that cannot be used.
#include <algorithm>
#include <cmath>

#include "tests/cli/workspace.h"

namespace leash::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Lines kKeys = {"logprobs", "prompt_ids", "stop", "text", "token_ids"};  // sorted

std::string text_of(const std::vector<int64_t>& ids) {
  std::string bytes;
  for (const int64_t id : ids) bytes += id >= 3 ? std::string(1, static_cast<char>(id - 3)) : "";
  return bytes;
}

TEST(Generate, JsonLinesInTheOrderOfTheInput) {
  const Workspace work;
  write_text(work / "in.jsonl",
             "{\"prompt\": \"Hello\"}\n"
             "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}\n"
             "{\"token_ids\": [5, 6, 7], \"more\": 1}\n");
  const Ended ended = work.run(
      "generate", {"--input", "in.jsonl", "--json", "--max-new-tokens", "12", "--seed", "3"});
  expect_done(ended);
  const auto lines = json_lines(ended.out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["prompt_ids"], ids_of("Hello"));
  std::vector<int64_t> chat = {1};
  for (const auto& [text, mark] : {std::pair{"user\nHi", 2}, {"\n", 1}, {"assistant\n", -1}}) {
    const auto ids = ids_of(text);
    chat.insert(chat.end(), ids.begin(), ids.end());
    if (mark >= 0) chat.push_back(mark);
  }
  EXPECT_EQ(lines[1]["prompt_ids"], chat);
  EXPECT_EQ(lines[2]["prompt_ids"], (std::vector<int64_t>{5, 6, 7}));
  for (const Json& line : lines) {
    EXPECT_EQ(keys_of(line), kKeys);
    EXPECT_EQ(line["token_ids"].size(), line["logprobs"].size());
    for (const Json& logprob : line["logprobs"]) EXPECT_LE(logprob.get<double>(), 0.0);
    const bool ended_itself = line["stop"] == "eos";
    EXPECT_EQ(ended_itself, line["token_ids"].back() == 2) << line;
    if (!ended_itself) {
      EXPECT_EQ(line["stop"], "length");
      EXPECT_EQ(line["token_ids"].size(), 12u);
    }
  }
}

// log-probs are those of `score`, whatever the temperature; greedy takes the likeliest token.
TEST(Generate, LogprobsAreThoseOfScore) {
  const Workspace work;
  for (const Lines& mode : {Lines{"--greedy"}, Lines{"--temperature", "0.5", "--top-k", "20"},
                            Lines{"--temperature", "1.7"}}) {
    Lines args = {"--prompt", "Once upon", "--json", "--max-new-tokens", "10"};
    args.insert(args.end(), mode.begin(), mode.end());
    const auto answer = json_lines(work.run("generate", args).out).at(0);
    std::vector<int64_t> ids = answer["prompt_ids"];
    const size_t prompt = ids.size();
    for (const Json& id : answer["token_ids"]) ids.push_back(id);
    const auto scored = json_lines(work.run("score", {"--input", "-", "--json"},
                                            {.input = Json{{"token_ids", ids}}.dump() + "\n"})
                                       .out)
                            .at(0);
    ASSERT_EQ(scored["logprobs"].size(), ids.size() - 1);
    for (size_t i = 0; i < answer["logprobs"].size(); ++i) {
      EXPECT_NEAR(answer["logprobs"][i].get<double>(),
                  scored["logprobs"][prompt - 1 + i].get<double>(), 1e-4);
    }
  }
}

TEST(Generate, SeedsDecideEverything) {
  const Workspace work;
  std::string input;
  for (const char* prompt : {"a", "bb", "ccc", "dddd"}) {
    input += Json{{"prompt", prompt}}.dump() + "\n";
  }
  const auto run = [&](Lines more) {
    more.insert(more.end(), {"--input", "-", "--json", "--max-new-tokens", "16"});
    const Ended ended = work.run("generate", more, {.input = input});
    expect_done(ended);
    return ended.out;
  };
  EXPECT_EQ(run({"--seed", "1"}), run({"--seed", "1"}));
  EXPECT_NE(run({"--seed", "1"}), run({"--seed", "2"}));
  EXPECT_EQ(run({}), run({"--seed", "0"}));
  EXPECT_EQ(run({"--greedy"}), run({"--greedy", "--seed", "9"}));
  EXPECT_EQ(run({"--greedy"}), run({"--temperature", "0"}));
  // A text does not depend on its neighbours: the first line alone.
  const auto alone = json_lines(
      work.run("generate", {"--input", "-", "--json", "--max-new-tokens", "16", "--seed", "1"},
               {.input = "{\"prompt\": \"a\"}\n"})
          .out);
  EXPECT_EQ(alone.at(0)["token_ids"], json_lines(run({"--seed", "1"})).at(0)["token_ids"]);
}

// The token or text that ended an answer is in token_ids; the text leaves it out.
TEST(Generate, TextOmitsWhatEndedIt) {
  const Workspace work;
  const auto run = [&](const Lines& more) {
    Lines args = {"--prompt", "zz", "--json", "--max-new-tokens", "40", "--temperature", "3"};
    args.insert(args.end(), more.begin(), more.end());
    return json_lines(work.run("generate", args).out).at(0);
  };
  const Json whole = run({});
  const std::vector<int64_t> ids = whole["token_ids"];
  // A printable byte of the answer that did not stand in it before, as a stop text.
  size_t at = 3;
  const auto is_new = [&](size_t i) {
    return ids[i] > 3 + ' ' && ids[i] < 3 + 127 &&
           std::find(ids.begin(), ids.begin() + static_cast<long>(i), ids[i]) ==
               ids.begin() + static_cast<long>(i);
  };
  while (at < ids.size() && !is_new(at)) ++at;
  ASSERT_LT(at, ids.size()) << "nothing printable in this answer: choose another seed";
  const std::string stop = text_of({ids[at]});
  const Json stopped = run({"--stop", stop});
  EXPECT_EQ(stopped["stop"], "stop_text");
  EXPECT_EQ(stopped["token_ids"],
            std::vector<int64_t>(ids.begin(), ids.begin() + static_cast<long>(at) + 1));
  EXPECT_EQ(stopped["logprobs"].size(), at + 1);
  EXPECT_THAT(stopped["text"].get<std::string>(), ::testing::Not(HasSubstr(stop)));
  EXPECT_TRUE(whole["text"].get<std::string>().starts_with(stopped["text"].get<std::string>()));

  // A model that knows nothing: its final norm is zero.
  write_tiny_folder(work.model(), tiny_byte_options(), [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "model.norm.weight") tensor.zero_();
    }
  });
  const Json flat = run({});
  for (const Json& logprob : flat["logprobs"]) {
    EXPECT_NEAR(logprob.get<double>(), -std::log(static_cast<double>(kTinyVocabulary)), 1e-5);
  }
}

TEST(Generate, TextModesPrintOnlyAnswers) {
  const Workspace work;
  const Json answer = json_lines(work.run("generate", {"--prompt", "Hello", "--greedy", "--json",
                                                       "--max-new-tokens", "20"})
                                     .out)
                          .at(0);
  const Ended streamed =
      work.run("generate", {"--prompt", "Hello", "--greedy", "--max-new-tokens", "20"});
  expect_done(streamed);
  EXPECT_EQ(streamed.out, answer["text"].get<std::string>() + "\n");
  const Ended chat =
      work.run("generate", {"--prompt", "Hi", "--chat", "--json", "--max-new-tokens", "1"});
  EXPECT_EQ(json_lines(chat.out).at(0)["prompt_ids"].at(0), 1);
}

TEST(Generate, BadLinesAreAllNamed) {
  const Workspace work;
  const std::string input =
      "{\"prompt\": 5}\nnonsense\n[1]\n{}\n{\"prompt\": \"a\", \"token_ids\": [1]}\n"
      "{\"token_ids\": [259]}\n{\"token_ids\": [-1]}\n{\"token_ids\": [18446744073709551615]}\n"
      "{\"token_ids\": [1.5]}\n{\"token_ids\": []}\n{\"messages\": []}\n"
      "{\"messages\": [{\"role\": 3, \"content\": \"x\"}]}\n{\"text\": \"x\"}\n\n"
      "{\"prompt\": \"fine\"}\n";
  const Ended ended = work.run("generate", {"--input", "-", "--json"}, {.input = input});
  expect_error(ended, 3, "standard input:1: \"prompt\" must be a text");
  for (int line = 2; line <= 14; ++line) {
    EXPECT_THAT(ended.err, HasSubstr("standard input:" + std::to_string(line) + ": "));
  }
  EXPECT_THAT(ended.err, ::testing::Not(HasSubstr("standard input:15: ")));
}

TEST(Generate, PromptsLongerThanTheContextAndEmptyData) {
  const Workspace work;
  const std::string at_limit(127, 'x'), too_long(128, 'x');
  const Ended fits =
      work.run("generate", {"--prompt", at_limit, "--json", "--max-new-tokens", "9"});
  expect_done(fits);
  const Json answer = json_lines(fits.out).at(0);
  EXPECT_EQ(answer["token_ids"].size(), 1u);
  EXPECT_EQ(answer["stop"], answer["token_ids"][0] == 2 ? "eos" : "context");
  expect_error(work.run("generate", {"--prompt", too_long}), 2,
               "--prompt: 128 tokens and an answer do not fit the model's context of 128");
  expect_error(
      work.run("generate", {"--input", "-"}, {.input = "{\"prompt\": \"" + too_long + "\"}\n"}), 3,
      "standard input:1: 128 tokens and an answer do not fit the model's context of 128");
  expect_error(work.run("generate", {"--prompt", ""}), 2, "the prompt has no tokens");
  expect_error(work.run("generate", {"--input", "-"}), 3, "standard input: is empty");
  expect_error(work.run("generate", {"--input", "none.jsonl"}), 3, "none.jsonl: ");
  expect_error(work.run("generate", {"--input", "."}), 3, "is a folder");
}

// --fast rounds weights and activations: near the plain log-probs, and not equal to them.
TEST(Generate, FastIsNearThePlainAnswers) {
  const Workspace work;
  const Lines args = {"--prompt", "Hello", "--greedy", "--json", "--max-new-tokens", "1"};
  const auto with = [&](const Lines& more) {
    Lines all = args;
    all.insert(all.end(), more.begin(), more.end());
    return work.run("generate", all);
  };
  const Ended plain = with({}), fast = with({"--fast"});
  expect_done(plain);
  expect_done(fast);
  if (fast.err.find("changes nothing") != std::string::npos) {
    EXPECT_EQ(fast.out, plain.out);
  } else {
    const double right = json_lines(plain.out).at(0)["logprobs"][0].get<double>();
    const double near = json_lines(fast.out).at(0)["logprobs"][0].get<double>();
    EXPECT_NE(near, right);
    EXPECT_NEAR(near, right, 0.1);  // random weights; SmolLM2 moves less
  }
  expect_error(with({"--fast", "--quantize", "nf4"}), 2, "leave --quantize out");
}

TEST(Generate, AnAdapterChangesTheAnswerAndOneForAnotherModelIsRefused) {
  const Workspace work;
  write_tiny_adapter(work / "adapter", work.model());
  const Lines args = {"--prompt", "Hello", "--greedy", "--json", "--max-new-tokens", "10"};
  Lines adapted = args;
  adapted.insert(adapted.end(), {"--adapter", "adapter"});
  const Ended with = work.run("generate", adapted);
  expect_done(with);
  EXPECT_NE(with.out, work.run("generate", args).out);
  TinyOptions other = tiny_byte_options();
  other.hidden_size = 64;
  other.head_dim = 16;
  write_tiny_folder(work / "other", other);
  const Ended refused = run_leash({"generate", "--model", (work / "other").string(), "--adapter",
                                   (work / "adapter").string(), "--prompt", "x"});
  expect_error(refused, 3, (work / "adapter").string());
  const std::string weights = read_text(work / "adapter/adapter_model.safetensors");
  write_text(work / "adapter/adapter_model.safetensors", weights.substr(0, 100));
  expect_error(work.run("generate", adapted), 3, "adapter_model.safetensors");
  expect_error(work.run("generate", {"--prompt", "x", "--adapter", "nowhere"}), 3, "nowhere");
}

}  // namespace
}  // namespace leash::testing
