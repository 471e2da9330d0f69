// leash serve against those who ask too much, leave early, or should not ask at all.
#include <chrono>
#include <thread>

#include "tests/cli/serve_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

// Answers that take seconds.
TinyOptions long_context() {
  TinyOptions options = tiny_byte_options();
  options.max_positions = 8192;
  return options;
}
const Json kLong = {{"prompt", "Hello"}, {"max_tokens", 8000}, {"ignore_eos", true}};

bool soon(const std::function<bool()>& holds) {
  for (int i = 0; i < 400; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  return false;
}

TEST(ServeLimits, AClientThatGoesAwayFreesItsSlot) {
  const Workspace work(long_context());
  const Server server(work, {"--slots", "1", "--context", "8192"});
  for (const bool stream : {false, true}) {
    {
      HttpSocket socket(server.port());
      Json body = kLong;
      body["stream"] = stream;
      ASSERT_TRUE(socket.send(http_request("POST", kCompletions, body.dump())));
      if (stream) {
        EXPECT_THAT(socket.some(), HasSubstr("200 OK"));
      }
      ASSERT_TRUE(soon([&] { return server.metric("leash_answers_active") == 1; }));
    }
    EXPECT_TRUE(soon([&] { return server.metric("leash_answers_active") == 0; }));
  }
  EXPECT_LT(server.metric("leash_generated_tokens_total"), 16000);
  EXPECT_EQ(server.post(kCompletions, {{"prompt", "Hi"}}).status, 200);
}

TEST(ServeLimits, AFullQueueSaysSo) {
  const Workspace work(long_context());
  const Server server(work, {"--slots", "1", "--queue", "128", "--context", "8192"});
  HttpSocket first(server.port());
  Json body = kLong;
  body["n"] = 128;
  ASSERT_TRUE(first.send(http_request("POST", kCompletions, body.dump())));
  ASSERT_TRUE(soon([&] { return server.metric("leash_answers_waiting") > 100; }));
  const HttpAnswer full = server.post(kCompletions, body);
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.headers.at("Retry-After"), "1");
  EXPECT_EQ(full.json()["error"]["type"], "rate_limit_error");
}

TEST(ServeLimits, AnAnswerHasItsTime) {
  const Workspace work(long_context());
  const Server server(work, {"--max-seconds", "1", "--slots", "1", "--context", "8192"});
  Json body = kLong;
  body["n"] = 8;
  EXPECT_EQ(server.post(kCompletions, body).status, 504);
  EXPECT_TRUE(soon([&] { return server.metric("leash_answers_active") == 0; }));
}

TEST(ServeLimits, LargeBodiesAreRefusedBeforeTheyAreRead) {
  const Workspace work;
  const Server server(work, {"--max-body", "2000"});
  const std::string large(5000, 'x');
  EXPECT_EQ(http(server.port(), "POST", kCompletions, large).status, 413);
  HttpSocket chunked(server.port());
  chunked.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
               std::string("1388\r\n") + large + "\r\n0\r\n\r\n");
  EXPECT_THAT(chunked.all(), ::testing::Not(HasSubstr("200 OK")));
  HttpSocket headers(server.port());
  headers.send("GET /health HTTP/1.1\r\n");
  for (int i = 0; i < 100 && headers.send("X-A: " + std::string(1000, 'a') + "\r\n"); ++i) {
  }
  headers.send("\r\n");
  EXPECT_THAT(headers.all(), ::testing::Not(HasSubstr("200 OK")));
  EXPECT_EQ(server.get("/health").status, 200);
}

TEST(ServeLimits, ThousandsOfConnectionsLeaveItServing) {
  const Workspace work;
  const Server server(work, {"--max-connections", "20"});
  std::vector<std::unique_ptr<HttpSocket>> idle;
  for (int i = 0; i < 900; ++i) {  // all that this process may open
    idle.push_back(std::make_unique<HttpSocket>(server.port()));
    if (i % 3 == 0) idle.back()->send("POST /v1/completions HTTP/1.1\r\nContent-Le");
  }
  EXPECT_TRUE(soon([&] { return server.get("/health").status == 200; }));
  EXPECT_EQ(server.post(kCompletions, {{"prompt", "Hi"}}).status, 200);
  EXPECT_LE(server.metric("leash_connections"), 40);
  for (int i = 0; i < 2000; ++i) HttpSocket(server.port()).send("\r\n\r\n\0\xff");
  EXPECT_TRUE(soon([&] { return server.get("/health").status == 200; }));
}

TEST(ServeLimits, OthersNeedAKey) {
  const Workspace work;
  expect_error(work.run("serve", {"--host", "0.0.0.0"}, {.environment = {{"LEASH_API_KEY", ""}}}),
               2, "--host 0.0.0.0 can be reached by others: set LEASH_API_KEY");
  const Server server(work, {"--host", "0.0.0.0"}, {{"LEASH_API_KEY", "secret"}});
  const auto status = [&](const std::string& path, const std::string& header) {
    return http(server.port(), "GET", path, "", header).status;
  };
  EXPECT_EQ(status("/v1/models", ""), 401);
  EXPECT_EQ(status("/metrics", ""), 401);
  EXPECT_EQ(status("/v1/none", ""), 401);
  EXPECT_EQ(status("/v1/models", "Authorization: Bearer secre\r\n"), 401);
  EXPECT_EQ(status("/v1/models", "Authorization: Bearer secrets\r\n"), 401);
  EXPECT_EQ(status("/v1/models", "Authorization: Bearer secret\r\n"), 200);
  EXPECT_EQ(status("/health", ""), 200) << "for whoever watches";
  EXPECT_THAT(server.said(), ::testing::Not(HasSubstr("secret")));
}

TEST(ServeLimits, WhatCannotBeServed) {
  const Workspace work;
  const auto serve = [&](const Lines& args) { return work.run("serve", args); };
  expect_error(serve({"--adapter", "x"}), 2, "--adapter has to be NAME=DIR, not `x`");
  expect_error(serve({"--adapter", "x=" + (work / "none").string()}), 3, "none");
  expect_error(serve({"--context", "129"}), 2, "at most the model's context of 128");
  expect_error(serve({"--port", "65536", "--slots", "0"}), 2, "--slots must be 1 to");
  write_tiny_adapter(work / "a", work.model());
  const std::string folder = (work / "a").string();
  expect_error(serve({"--name", "x", "--adapter", "x=" + folder}), 2, "two models are called `x`");
  const Server server(work);
  expect_error(serve({"--port", std::to_string(server.port())}), 1, "cannot listen at 127.0.0.1:");
}

}  // namespace
}  // namespace leash::testing
