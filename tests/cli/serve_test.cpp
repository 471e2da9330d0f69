// leash serve: what OpenAI's clients get is what generate and score say.
#include <cmath>

#include "tests/cli/serve_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kChat = "/v1/chat/completions";

// One server for all tests: starting takes longer than asking.
class Serve : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    work = new Workspace;
    write_tiny_adapter(*work / "adapter", work->model());
    server = new Server(*work, {"--name", "base", "--adapter",
                                "warm=" + (*work / "adapter").string(), "--slots", "4"});
  }
  static void TearDownTestSuite() {
    delete server;
    delete work;
  }
  static Json generated(const Json& input, Lines args, bool adapter) {
    args.insert(args.end(), {"--input", "-", "--json"});
    if (adapter) args.insert(args.end(), {"--adapter", (*work / "adapter").string()});
    const Ended ended = work->run("generate", args, {.input = input.dump() + "\n"});
    expect_done(ended);
    return json_lines(ended.out).at(0);
  }
  static Json scored(const Json& input, bool adapter) {
    Lines args = {"--input", "-", "--json"};
    if (adapter) args.insert(args.end(), {"--adapter", (*work / "adapter").string()});
    const Ended ended = work->run("score", args, {.input = input.dump() + "\n"});
    expect_done(ended);
    return json_lines(ended.out).at(0);
  }

  static inline Workspace* work = nullptr;
  static inline Server* server = nullptr;
};

TEST_F(Serve, NamesItsModels) {
  const HttpAnswer answer = server->get("/v1/models");
  ASSERT_EQ(answer.status, 200);
  const Json data = answer.json()["data"];
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(data[0]["id"], "base");
  EXPECT_EQ(data[1]["id"], "warm");
  EXPECT_EQ(data[1]["parent"], "base");
  EXPECT_EQ(server->get("/health").status, 200);
  EXPECT_THAT(server->said(), HasSubstr("serving base, warm at http://127.0.0.1:"));
}

TEST_F(Serve, CompletionsAreThoseOfGenerate) {
  for (const bool adapter : {false, true}) {
    const Json wanted =
        generated({{"prompt", "Hello there"}},
                  {"--temperature", "0.8", "--seed", "7", "--max-new-tokens", "9"}, adapter);
    const Json reply = server->asked(kCompletions, {{"model", adapter ? "warm" : "base"},
                                                    {"prompt", "Hello there"},
                                                    {"temperature", 0.8},
                                                    {"seed", 7},
                                                    {"max_tokens", 9},
                                                    {"logprobs", 2},
                                                    {"user", "somebody"}});
    EXPECT_EQ(reply["object"], "text_completion");
    EXPECT_EQ(reply["model"], adapter ? "warm" : "base");
    const Json& choice = reply["choices"].at(0);
    EXPECT_EQ(choice["text"], wanted["text"]);
    EXPECT_EQ(choice["finish_reason"], wanted["stop"] == "length" ? "length" : "stop");
    const Json& scores = choice["logprobs"]["token_logprobs"];
    ASSERT_EQ(scores.size(), wanted["token_ids"].size());
    for (size_t i = 0; i < scores.size(); ++i) {
      EXPECT_NEAR(scores[i].get<double>(), wanted["logprobs"][i].get<double>(), 1e-4);
      const Json& top = choice["logprobs"]["top_logprobs"][i];
      EXPECT_GE(top.size(), 2u);
      EXPECT_LE(top.size(), 3u) << "two, and the one that was drawn";
      EXPECT_EQ(top[choice["logprobs"]["tokens"][i].get<std::string>()], scores[i]);
    }
    EXPECT_EQ(reply["usage"]["prompt_tokens"], 11);
    EXPECT_EQ(reply["usage"]["completion_tokens"], wanted["token_ids"].size());
  }
}

// What lm-eval asks: the log-probs of the prompt, with nothing or one token behind it.
TEST_F(Serve, EchoHasTheLogprobsOfScore) {
  for (const bool adapter : {false, true}) {
    const Json wanted = scored({{"text", "Hello there"}}, adapter);
    for (const int most : {0, 1}) {
      const Json reply = server->asked(kCompletions, {{"model", adapter ? "warm" : "base"},
                                                      {"prompt", Json::array({"Hello there", "x"})},
                                                      {"temperature", 0},
                                                      {"max_tokens", most},
                                                      {"logprobs", 1},
                                                      {"echo", true}});
      const Json& choice = reply["choices"].at(0);
      EXPECT_THAT(choice["text"].get<std::string>(), ::testing::StartsWith("Hello there"));
      if (most == 0) {
        EXPECT_EQ(choice["text"], "Hello there");
      }
      const Json& scores = choice["logprobs"]["token_logprobs"];
      ASSERT_EQ(scores.size(), 11u + static_cast<size_t>(most));
      EXPECT_TRUE(scores[0].is_null());
      EXPECT_TRUE(choice["logprobs"]["top_logprobs"][0].is_null());
      EXPECT_EQ(choice["logprobs"]["tokens"][4], "o");
      EXPECT_EQ(choice["logprobs"]["text_offset"][4], 4);
      for (size_t i = 0; i < wanted["logprobs"].size(); ++i) {
        EXPECT_NEAR(scores[i + 1].get<double>(), wanted["logprobs"][i].get<double>(), 1e-4);
      }
      ASSERT_EQ(reply["choices"].size(), 2u);
      EXPECT_EQ(reply["choices"][1]["logprobs"]["token_logprobs"].size(),
                1u + static_cast<size_t>(most));
    }
  }
}

TEST_F(Serve, PromptsAreTextsOrIdsOneOrMany) {
  const Json one = server->asked(kCompletions, {{"prompt", "Hi"}, {"temperature", 0}});
  const Json ids = server->asked(kCompletions, {{"prompt", ids_of("Hi")}, {"temperature", 0}});
  EXPECT_EQ(ids["choices"][0]["text"], one["choices"][0]["text"]);
  const Json many =
      server->asked(kCompletions, {{"prompt", Json::array({Json(ids_of("Hi")), Json("Ho")})},
                                   {"temperature", 0.9},
                                   {"seed", 3},
                                   {"n", 3}});
  ASSERT_EQ(many["choices"].size(), 6u);
  std::set<std::string> different;
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(many["choices"][i]["index"], i);
    different.insert(many["choices"][i]["text"].get<std::string>());
  }
  EXPECT_GT(different.size(), 3u);
  // Each is what its prompt gets alone.
  const Json alone =
      server->asked(kCompletions, {{"prompt", "Ho"}, {"temperature", 0.9}, {"seed", 3}, {"n", 3}});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(alone["choices"][i]["text"], many["choices"][3 + i]["text"]);
  }
  EXPECT_NE(server->asked(kCompletions, {{"prompt", "Hi"}})["choices"][0]["text"],
            server->asked(kCompletions, {{"prompt", "Hi"}})["choices"][0]["text"])
      << "without a seed each answer is drawn anew";
}

TEST_F(Serve, ChatIsTheTemplates) {
  const Json messages = {{{"role", "user"}, {"content", "Hi"}}};
  const Json wanted = generated({{"messages", messages}}, {"--greedy", "--max-new-tokens", "6"},
                                /*adapter=*/true);
  const Json reply = server->asked(kChat, {{"model", "warm"},
                                           {"messages", messages},
                                           {"temperature", 0},
                                           {"max_tokens", 6},
                                           {"logprobs", true},
                                           {"top_logprobs", 2}});
  EXPECT_EQ(reply["object"], "chat.completion");
  const Json& choice = reply["choices"].at(0);
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], wanted["text"]);
  ASSERT_EQ(choice["logprobs"]["content"].size(), wanted["token_ids"].size());
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
  EXPECT_NEAR(choice["logprobs"]["content"][0]["logprob"].get<double>(),
              wanted["logprobs"][0].get<double>(), 1e-4);
  EXPECT_EQ(reply["usage"]["prompt_tokens"], wanted["prompt_ids"].size());
}

TEST_F(Serve, StreamsAddUpToTheWhole) {
  const Json body = {{"prompt", "Hello there"},
                     {"temperature", 0.9},
                     {"seed", 5},
                     {"max_tokens", 20},
                     {"n", 2},
                     {"logprobs", 1},
                     {"echo", true},
                     {"stop", {"zz", "qq"}}};
  const Json whole = server->asked(kCompletions, body);
  Json streamed = body;
  streamed["stream"] = true;
  streamed["stream_options"] = {{"include_usage", true}};
  const HttpAnswer answer = server->post(kCompletions, streamed);
  ASSERT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("Content-Type"), "text/event-stream");
  const auto events = answer.events();
  ASSERT_GE(events.size(), 4u);
  EXPECT_EQ(events.back(), "[DONE]");
  std::string text[2], reason[2];
  std::vector<double> scores[2];
  for (size_t i = 0; i + 2 < events.size(); ++i) {
    const Json choice = Json::parse(events[i])["choices"].at(0);
    const size_t index = choice["index"];
    text[index] += choice["text"].get<std::string>();
    if (!choice["finish_reason"].is_null()) reason[index] = choice["finish_reason"];
    for (const Json& score : choice["logprobs"]["token_logprobs"]) {
      scores[index].push_back(score.is_null() ? 1.0 : score.get<double>());
    }
  }
  for (size_t i = 0; i < 2; ++i) {
    const Json& choice = whole["choices"][i];
    EXPECT_EQ(text[i], choice["text"]);
    EXPECT_EQ(reason[i], choice["finish_reason"]);
    EXPECT_EQ(scores[i].size(), choice["logprobs"]["token_logprobs"].size());
  }
  const Json last = Json::parse(events[events.size() - 2]);
  EXPECT_TRUE(last["choices"].empty());
  EXPECT_EQ(last["usage"], whole["usage"]);
}

TEST_F(Serve, ChatStreamsBeginWithTheRole) {
  const Json body = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
                     {"temperature", 0},
                     {"max_completion_tokens", 5},
                     {"stream", true}};
  const auto events = server->post(kChat, body).events();
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(Json::parse(events[0])["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(Json::parse(events[0])["object"], "chat.completion.chunk");
  std::string text;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    text += Json::parse(events[i])["choices"][0]["delta"].value("content", "");
  }
  Json whole = body;
  whole.erase("stream");
  EXPECT_EQ(text, server->asked(kChat, whole)["choices"][0]["message"]["content"]);
}

TEST_F(Serve, WhatWouldChangeTheAnswerIsNamed) {
  const auto refused = [](const Json& more, int status, const std::string& part) {
    Json body = {{"prompt", "Hi"}};
    body.update(more);
    server->expect_refused(kCompletions, body, status, part);
  };
  refused({{"best_off", 3}, {"guided_json", "{}"}}, 400, "best_off, guided_json");
  refused({{"presence_penalty", 0.5}}, 400, "`presence_penalty` would change the answer");
  refused({{"logit_bias", {{"5", 1}}}}, 400, "`logit_bias`");
  refused({{"best_of", 2}}, 400, "`best_of`");
  refused({{"suffix", "x"}}, 400, "`suffix`");
  refused({{"temperature", -1}}, 400, "`temperature`");
  refused({{"temperature", "hot"}}, 400, "'temperature' is \"hot\", a number is needed");
  refused({{"top_p", 0}}, 400, "`top_p`");
  refused({{"n", 129}}, 400, "`n`");
  refused({{"logprobs", 21}}, 400, "`logprobs`");
  refused({{"logprobs", true}}, 400, "'logprobs'");
  refused({{"max_tokens", -1}}, 400, "`max_tokens`");
  refused({{"stop", ""}}, 400, "`stop`");
  refused({{"stream_options", {{"include_usage", true}}}}, 400, "stream: true");
  refused({{"model", "gpt"}}, 404, "there is no model `gpt` here");
  refused({{"prompt", Json::array()}}, 400, "`prompt`");
  refused({{"prompt", ""}}, 400, "prompt 0 has no tokens");
  refused({{"prompt", {1, 259}}}, 400, "token 259 is not in the model's vocabulary of 259");
  refused({{"prompt", {1, "x"}}}, 400, "`prompt`");
  refused({{"prompt", {{1.5}}}}, 400, "`prompt`");
  refused({{"prompt", std::string(128, 'x')}}, 400, "context that is served is 128");
  server->expect_refused(kCompletions, Json::object(), 400, "`prompt` is missing");
  server->expect_refused(kChat, {{"messages", Json::array()}}, 400, "`messages`");
  const Json hi = {{{"role", "user"}, {"content", "Hi"}}};
  server->expect_refused(kChat, {{"messages", hi}, {"response_format", {{"type", "json_object"}}}},
                         400, "`response_format`");
  server->expect_refused(kChat, {{"messages", hi}, {"top_logprobs", 2}}, 400, "`top_logprobs`");
  server->expect_refused(kChat, {{"messages", hi}, {"max_tokens", 3}, {"max_completion_tokens", 4}},
                         400, "contradict");
  // What changes nothing is taken.
  EXPECT_EQ(server
                ->post(kCompletions, {{"prompt", "Hi"},
                                      {"presence_penalty", 0},
                                      {"best_of", 1},
                                      {"logit_bias", Json::object()},
                                      {"suffix", nullptr},
                                      {"stop", nullptr},
                                      {"metadata", {{"a", "b"}}}})
                .status,
            200);
}

TEST_F(Serve, BodiesThatAreNoRequests) {
  const auto status = [](const std::string& body, const std::string& headers = "") {
    return http(server->port(), "POST", kCompletions, body, headers).status;
  };
  EXPECT_EQ(status("{"), 400);
  EXPECT_EQ(status("[]"), 400);
  EXPECT_EQ(status(""), 400);
  EXPECT_EQ(status("{\"prompt\": \"a\", \"prompt\": \"b\"}"), 400);
  EXPECT_EQ(status("{\"prompt\": " + std::string(5000, '[') + std::string(5000, ']') + "}"), 400);
  EXPECT_EQ(status("{\"prompt\": \"\xff\"}"), 400);
  EXPECT_EQ(status("{\"prompt\": 1e999}"), 400);
  EXPECT_EQ(status("{}", "Content-Encoding: gzip\r\n"), 415);
  EXPECT_EQ(status("{\"prompt\": \"" + std::string(3 << 20, 'x') + "\"}"), 400) << "too long";
  EXPECT_EQ(http(server->port(), "GET", "/v1/none").status, 404);
  EXPECT_EQ(http(server->port(), "GET", "/v1/none").json()["error"]["type"],
            "invalid_request_error");
  EXPECT_EQ(server->get("/health").status, 200);
}

TEST_F(Serve, ConnectionsAreUsedAgain) {
  HttpSocket socket(server->port());
  const std::string once = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(socket.send(once));
    EXPECT_EQ(parse_answer(socket.some()).status, 200);
  }
}

TEST_F(Serve, MetricsCount) {
  const double before = server->metric("leash_generated_tokens_total");
  server->asked(kCompletions, {{"prompt", "Hi"}, {"max_tokens", 4}, {"ignore_eos", true}});
  EXPECT_EQ(server->metric("leash_generated_tokens_total"), before + 4);
  EXPECT_EQ(server->metric("leash_answers_active"), 0);
  EXPECT_GE(server->metric("leash_replies_total{path=\"/v1/completions\",status=\"200\"}"), 1);
}

}  // namespace
}  // namespace leash::testing
