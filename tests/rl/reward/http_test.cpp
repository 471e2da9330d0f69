// Rewards from an endpoint: one that is slow, wrong, cut off, redirecting, refusing, or gone.
#include "rl/reward/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "models/errors.h"
#include "rl/judges/http_url.h"
#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/ranks.h"
#include "tests/support/scripted_server.h"

namespace leash {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::http_reply;
using ::testing::Not;
using testing::ScratchFolder;
using testing::ScriptedReply;
using testing::ScriptedServer;

std::vector<RewardSample> answers(const std::vector<std::string>& texts) {
  std::vector<RewardSample> samples;
  for (const std::string& text : texts) samples.push_back({.prompt = "p", .answer = text});
  return samples;
}

std::string body_of(const std::string& request) {
  return request.substr(request.find("\r\n\r\n") + 4);
}

// The length of each answer.
std::string lengths(const std::string& request) {
  nlohmann::json scores = nlohmann::json::array();
  const nlohmann::json sent = nlohmann::json::parse(body_of(request));
  for (const auto& answer : sent.at("answers")) {
    scores.push_back(answer.at("answer").get<std::string>().size());
  }
  return http_reply(200, nlohmann::json{{"scores", scores}}.dump());
}

HttpOptions options_for(const ScriptedServer& server) {
  return {.url = server.url(), .timeout_seconds = 20, .retries = 2, .first_wait_seconds = 0.01};
}

std::string error_of(const HttpOptions& options, int64_t batch = 16) {
  try {
    HttpReward(options, batch, false).score(answers({"a", "bb", "ccc"}));
    return "no error";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(HttpReward, PostsBatchesAndKeepsTheirOrder) {
  // The first request is the last to be answered.
  const ScriptedServer server([](const std::string& request, int64_t) {
    const bool first = request.find("\"a\"") != request.npos;
    return ScriptedReply{.bytes = lengths(request), .delay_seconds = first ? 0.4 : 0.1};
  });
  HttpOptions options = options_for(server);
  options.concurrency = 2;
  const HttpReward reward(options, 2, /*ids=*/false);
  EXPECT_THAT(reward.score(answers({"a", "bb", "ccc", "dddd", "eeeee"})),
              ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(reward.score({}), ElementsAre());
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(server.most_at_once(), 2);
  EXPECT_THAT(requests[0], HasSubstr("POST /score HTTP/1.1\r\n"));
  EXPECT_THAT(requests[0], HasSubstr("Content-Type: application/json\r\n"));
  const bool first = requests[0].find("\"a\"") != std::string::npos;
  const auto sent = nlohmann::json::parse(body_of(requests[first ? 0 : 1])).at("answers").at(0);
  EXPECT_EQ(sent.dump(),
            R"({"answer":"a","ended":false,"messages":null,"prompt":"p","row":null,"step":0})");
}

TEST(HttpReward, TriesAgainWhereThatMayHelp) {
  for (const std::string& bad :
       {http_reply(500, "down"), http_reply(503, ""), http_reply(429, "", "Retry-After: 0\r\n"),
        std::string(), std::string("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"scores\""),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"sco")}) {
    const ScriptedServer server([&bad](const std::string& request, int64_t number) {
      return ScriptedReply{.bytes = number < 2 ? bad : lengths(request)};
    });
    EXPECT_THAT(HttpReward(options_for(server), 16, false).score(answers({"a", "bb"})),
                ElementsAre(1, 2))
        << bad;
    EXPECT_EQ(server.requests().size(), 3u) << bad;
  }
}

TEST(HttpReward, GivesUpInTheEnd) {
  const ScriptedServer down([](const std::string&, int64_t) {
    return ScriptedReply{.bytes = http_reply(502, "no\x1b[1m")};
  });
  EXPECT_THAT(error_of(options_for(down)),
              HasSubstr("the reward endpoint " + down.url() +
                        ": request 1 of 1, after 3 tries: replied with status 502: no\\x1b[1m"));
  EXPECT_EQ(down.requests().size(), 3u);
  const ScriptedServer cut([](const std::string&, int64_t) {
    return ScriptedReply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"};
  });
  EXPECT_THAT(error_of(options_for(cut)), HasSubstr("after 3 tries: "));
  HttpOptions gone = options_for(cut);
  gone.url = "http://127.0.0.1:" + std::to_string(testing::free_port()) + "/";
  gone.retries = 1;
  EXPECT_THAT(error_of(gone), AllOf(HasSubstr("after 2 tries: "), HasSubstr("onnect")));
}

TEST(HttpReward, AnEndpointThatIsSlow) {
  const ScriptedServer server([](const std::string& request, int64_t number) {
    return ScriptedReply{.bytes = lengths(request), .delay_seconds = number == 0 ? 30.0 : 0.0};
  });
  HttpOptions options = options_for(server);
  options.timeout_seconds = 0.3;
  EXPECT_EQ(error_of(options), "no error");  // the second try is in time
  EXPECT_EQ(server.requests().size(), 2u);
  const ScriptedServer always(
      [](const std::string&, int64_t) { return ScriptedReply{.bytes = "", .delay_seconds = 30}; });
  options.url = always.url();
  options.retries = 1;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(error_of(options), AllOf(HasSubstr("after 2 tries: "), HasSubstr("timed out")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

// A wrong answer is not asked for a second time, and never made up.
TEST(HttpReward, WhatIsNoScoreIsAnErrorAtOnce) {
  for (const auto& [body, problem] : std::vector<std::pair<std::string, std::string>>{
           {R"({"scores": [1, 2]})", "the reply has 2 scores for 3 answers"},
           {R"([1, 2, 3, 4])", "the reply has 4 scores for 3 answers"},
           {R"({"scores": [1, null, 3]})", "the score of answer 2 is null, no finite number"},
           {R"({"scores": [1, 2, "3"]})", "the score of answer 3 is \"3\""},
           {R"({"scores": [1, 2, 1e999]})", "is not valid JSON"},
           {R"({"scores": [1, 2, NaN]})", "is not valid JSON"},
           {R"({"score": [1, 2, 3]})", "the reply has no `scores`"},
           {R"({"scores": 3})", "no list of scores"},
           {"<html>", "is not valid JSON"},
           {"", "is not valid JSON"}}) {
    const ScriptedServer server([&body = body](const std::string&, int64_t) {
      return ScriptedReply{.bytes = http_reply(200, body)};
    });
    EXPECT_THAT(error_of(options_for(server)), HasSubstr(problem)) << body;
    EXPECT_EQ(server.requests().size(), 1u) << body;
  }
  const ScriptedServer list([](const std::string&, int64_t) {
    return ScriptedReply{.bytes = http_reply(200, "[1, -2.5, 3e2]")};
  });
  EXPECT_EQ(error_of(options_for(list)), "no error");
}

TEST(HttpReward, RefusalsAndRedirectsAreNotFollowed) {
  const ScriptedServer elsewhere(
      [](const std::string& request, int64_t) { return ScriptedReply{.bytes = lengths(request)}; });
  for (const int status : {301, 302, 307, 308}) {
    const ScriptedServer server([&](const std::string&, int64_t) {
      return ScriptedReply{
          .bytes = http_reply(status, "", "Location: " + elsewhere.url() + "?secret\r\n")};
    });
    EXPECT_THAT(error_of(options_for(server)),
                AllOf(HasSubstr("redirects (" + std::to_string(status) + ") to " + elsewhere.url()),
                      HasSubstr("leash follows no redirect")));
    EXPECT_EQ(server.requests().size(), 1u);
  }
  EXPECT_TRUE(elsewhere.requests().empty());
  for (const int status : {400, 401, 404}) {
    const ScriptedServer server([&](const std::string&, int64_t) {
      return ScriptedReply{.bytes = http_reply(status, "not so")};
    });
    EXPECT_THAT(error_of(options_for(server)),
                HasSubstr("replied with status " + std::to_string(status) + ": not so"));
    EXPECT_EQ(server.requests().size(), 1u);
  }
}

TEST(HttpReward, RepliesAreBounded) {
  const ScriptedServer server([](const std::string&, int64_t) {
    return ScriptedReply{.bytes = http_reply(200, std::string(300000, ' '))};
  });
  EXPECT_THAT(error_of(options_for(server)), HasSubstr("replied with more than 67072 bytes"));
  EXPECT_EQ(server.requests().size(), 1u);
}

RewardConfig endpoint(const std::string& url) {
  RewardConfig config;
  config.kind = RewardKind::http;
  config.url = url;
  config.retries = 0;
  config.header_env = "LEASH_TEST_HEADER";
  return config;
}

TEST(HttpReward, AHeaderFromTheEnvironmentIsSentAndNowhereElse) {
  ::setenv("LEASH_TEST_HEADER", "Authorization: Bearer s3cr3t-token", 1);
  const ScriptedServer echo([](const std::string& request, int64_t) {
    return ScriptedReply{.bytes = http_reply(403, request)};
  });
  try {
    make_reward({endpoint(echo.url())}, {})->score(answers({"a"}));
    ADD_FAILURE() << "the endpoint refused";
  } catch (const RewardFailure& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("status 403"), Not(HasSubstr("s3cr3t"))));
  }
  ASSERT_EQ(echo.requests().size(), 1u);
  EXPECT_THAT(echo.requests()[0], HasSubstr("\r\nAuthorization: Bearer s3cr3t-token\r\n"));
  const ScriptedServer wrong([](const std::string&, int64_t) {
    return ScriptedReply{.bytes = http_reply(200, "you sent s3cr3t-token")};
  });
  try {
    make_reward({endpoint(wrong.url())}, {})->score(answers({"a"}));
    ADD_FAILURE() << "the reply is no JSON";
  } catch (const RewardFailure& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("you sent ***"), Not(HasSubstr("s3cr3t"))));
  }
  for (const char* bad : {"", "Bearer s3cr3t", "A: s3cr3t\r\nX: y", ": s3cr3t"}) {
    ::setenv("LEASH_TEST_HEADER", bad, 1);
    try {
      make_reward({endpoint(wrong.url())}, {});
      ADD_FAILURE() << bad;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("LEASH_TEST_HEADER"), Not(HasSubstr("s3cr3t"))));
    }
  }
  ::unsetenv("LEASH_TEST_HEADER");
}

// A server whose certificate nobody vouches for, and one that ca_file vouches for under another
// name.
TEST(HttpReward, CertificatesAreChecked) {
  const ScratchFolder folder;
  const std::string make =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
      "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem && "
      "cat key.pem cert.pem >both.pem";
  if (testing::Process({"/bin/sh", "-c", make}, {.folder = folder.path()}).wait().code != 0) {
    GTEST_SKIP() << "openssl made no certificate";
  }
  const std::string script =
      "import http.server, ssl, sys, threading\n"
      "class H(http.server.BaseHTTPRequestHandler):\n"
      "  def do_POST(self):\n"
      "    self.rfile.read(int(self.headers['Content-Length']))\n"
      "    body = b'[1, 2, 3]'\n"
      "    self.send_response(200); self.send_header('Content-Length', str(len(body)))\n"
      "    self.end_headers(); self.wfile.write(body)\n"
      "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H)\n"
      "c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
      "c.load_cert_chain('both.pem')\n"
      "s.socket = c.wrap_socket(s.socket, server_side=True)\n"
      "open('port.new', 'w').write(str(s.server_port))\n"
      "import os; os.rename('port.new', 'port')\n"
      "s.serve_forever()\n";
  testing::write_text(folder / "server.py", script);
  testing::Process server({"/usr/bin/env", "python3", "server.py"}, {.folder = folder.path()});
  ASSERT_TRUE(server.wait_until([&] { return std::filesystem::exists(folder / "port"); }));
  const std::string port = testing::read_text(folder / "port");
  HttpOptions options{.url = "https://localhost:" + port + "/",
                      .timeout_seconds = 20,
                      .retries = 3,
                      .first_wait_seconds = 0.01};
  EXPECT_THAT(error_of(options), AllOf(HasSubstr("request 1 of 1: "), HasSubstr("ertificate")));
  options.ca_file = folder / "cert.pem";
  EXPECT_EQ(error_of(options), "no error");
  options.url = "https://127.0.0.1:" + port + "/";
  EXPECT_THAT(error_of(options), HasSubstr("request 1 of 1: "));  // another name; not tried again
}

TEST(HttpReward, Addresses) {
  EXPECT_EQ(url_problem("https://host.example:8443/a?b=c", true), "");
  EXPECT_EQ(url_problem("http://host.example/a", false), "");
  EXPECT_EQ(url_problem("http://127.0.0.1:80/", true), "");
  EXPECT_EQ(url_problem("http://[::1]:80/", true), "");
  EXPECT_THAT(url_problem("http://host.example/", true), HasSubstr("unencrypted"));
  EXPECT_THAT(url_problem("http://127.0.0.1.example/", true), HasSubstr("unencrypted"));
  EXPECT_THAT(url_problem("http://localhost@host.example/", false), HasSubstr("user's name"));
  EXPECT_THAT(url_problem("file:///etc/passwd", false), HasSubstr("has to begin with"));
  for (const char* none : {"host.example", "", "https://", "https://a b/"}) {
    EXPECT_NE(url_problem(none, false), "") << none;
  }
}

}  // namespace
}  // namespace leash
