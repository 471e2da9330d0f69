// The page's interface over real sockets.
#include "experiments/label/server.h"

#include <httplib.h>

#include <thread>

#include "experiments/label/page.h"
#include "models/errors.h"
#include "tests/experiments/label/label_files.h"

namespace leash::label::testing {
namespace {

using ::testing::HasSubstr;

class LabelServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(scratch_ / "labels");
    std::vector<LabelPair> pairs = numbered_pairs(3);
    pairs.push_back(text_pair("<img src=x onerror=alert(1)>", "<b>a</b>", "b  \n\tc"));
    folder_->add(pairs);
    session_.emplace(*folder_, SessionOptions{.users = {"anna", "ben"}, .seed = 1});
    server_.emplace(*session_,
                    ServerOptions{.tokens = {{"token-a", "anna"}, {"token-b", "ben"}}, .seed = 1});
    server_->start();
  }

  httplib::Result get(const std::string& path, httplib::Headers headers = {}) {
    return httplib::Client("127.0.0.1", server_->port()).Get(path, headers);
  }
  httplib::Result post(const std::string& path, const std::string& body,
                       httplib::Headers headers = {{"Authorization", "Bearer token-a"}}) {
    return httplib::Client("127.0.0.1", server_->port())
        .Post(path, headers, body, "application/json");
  }
  static std::string judge_body(const Json& view, const std::string& verdict) {
    return Json{{"pair", view["pair"]["id"]}, {"verdict", verdict}, {"comment", "c"}}.dump();
  }

  const ScratchFolder scratch_;
  std::optional<LabelFolder> folder_;
  std::optional<LabelSession> session_;
  std::optional<LabelServer> server_;
};

TEST_F(LabelServerTest, ThePageLoadsNothingAndIsNobodysFrame) {
  const auto page = get("/?token=token-a");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->get_header_value("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(page->get_header_value_count("Content-Security-Policy"), 1u);
  const std::string policy = page->get_header_value("Content-Security-Policy");
  for (const char* part :
       {"default-src 'none'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
        "frame-ancestors 'none'", "require-trusted-types-for 'script'"}) {
    EXPECT_THAT(policy, HasSubstr(part));
  }
  EXPECT_THAT(policy, ::testing::Not(HasSubstr("unsafe")));
  const size_t at = policy.find("'nonce-") + 7;
  const std::string nonce = policy.substr(at, policy.find('\'', at) - at);
  EXPECT_EQ(nonce.size(), 43u);
  EXPECT_EQ(page->body, page_html(nonce));
  EXPECT_NE(get("/?token=token-a")->body, page->body);  // another nonce
  EXPECT_EQ(page->get_header_value("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(page->get_header_value("Referrer-Policy"), "no-referrer");
  EXPECT_EQ(page->get_header_value("Cache-Control"), "no-store");
  for (const char* part :
       {"http://", "https://", "src=", "url(", "@import", "innerHTML", "eval("}) {
    EXPECT_THAT(page->body, ::testing::Not(HasSubstr(part)));
  }
}

TEST_F(LabelServerTest, NobodyWithoutTheToken) {
  for (const char* path : {"/", "/?token=", "/?token=token-", "/?token=token-c", "/api/next",
                           "/api/statistics", "/nothing"}) {
    const auto answer = get(path);
    ASSERT_TRUE(answer) << path;
    EXPECT_EQ(answer->status, 401) << path;
    EXPECT_THAT(answer->body, ::testing::Not(HasSubstr("prompt"))) << path;
  }
  EXPECT_EQ(post("/api/judge", "{}", {})->status, 401);
  EXPECT_EQ(get("/nothing?token=token-a")->status, 404);
  EXPECT_EQ(get("/api/next", {{"Authorization", "Bearer token-b"}})->status, 200);
}

TEST_F(LabelServerTest, OtherSitesAndOtherNamesAreRefused) {
  const auto ask = [&](const char* name, const char* value) {
    return get("/api/next?token=token-a", {{name, value}})->status;
  };
  EXPECT_EQ(ask("Host", "evil.com"), 421);
  EXPECT_EQ(ask("Host", "evil.com:80"), 421);
  EXPECT_EQ(ask("Host", "localhost:1"), 200);
  EXPECT_EQ(ask("Origin", "http://evil.com"), 403);
  EXPECT_EQ(ask("Origin", "null"), 403);
  EXPECT_EQ(ask("Sec-Fetch-Site", "cross-site"), 403);
  const std::string own = "http://127.0.0.1:" + std::to_string(server_->port());
  EXPECT_EQ(ask("Origin", own.c_str()), 200);
  // A link from elsewhere may open the page, and nothing else.
  const httplib::Headers link = {{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Mode", "navigate"}};
  EXPECT_EQ(get("/?token=token-a", link)->status, 200);
  EXPECT_EQ(get("/api/next?token=token-a", link)->status, 403);
}

TEST_F(LabelServerTest, JudgesAndTakesBack) {
  const Json first = Json::parse(get("/api/next?token=token-a")->body);
  EXPECT_EQ(first["offer"], "pair");
  EXPECT_EQ(first["user"], "anna");
  EXPECT_EQ(first["progress"]["total"], 4);
  EXPECT_EQ(first["pair"]["prompt"][0]["role"], nullptr);
  const auto said = post("/api/judge", judge_body(first, "left"));
  EXPECT_EQ(said->status, 200);
  const Json second = Json::parse(said->body);
  EXPECT_NE(second["pair"]["id"], first["pair"]["id"]);
  ASSERT_EQ(rows_of(folder_->preferences_file()).size(), 1u);
  EXPECT_EQ(rows_of(folder_->preferences_file())[0]["chosen"], first["pair"]["left"]);
  // The same again: the person sees what is shown now, and nothing is said of it.
  const auto twice = post("/api/judge", judge_body(first, "right"));
  EXPECT_EQ(twice->status, 409);
  EXPECT_EQ(Json::parse(twice->body)["pair"]["id"], second["pair"]["id"]);
  EXPECT_EQ(rows_of(folder_->preferences_file()).size(), 1u);
  const Json back = Json::parse(post("/api/undo", "{}")->body);
  EXPECT_EQ(back["pair"]["id"], first["pair"]["id"]);
  EXPECT_EQ(back["pair"]["comment"], "c");
  EXPECT_TRUE(rows_of(folder_->preferences_file()).empty());
  EXPECT_EQ(post("/api/undo", "{}")->status, 409);
  const Json statistics = Json::parse(get("/api/statistics?token=token-b")->body);
  EXPECT_EQ(statistics["pairs"], 0);
}

TEST_F(LabelServerTest, BadBodiesAreRefused) {
  EXPECT_EQ(post("/api/judge", "nonsense")->status, 400);
  EXPECT_EQ(post("/api/judge", "")->status, 400);
  EXPECT_EQ(post("/api/judge", R"({"pair": "x", "verdict": "left"})")->status, 409);
  EXPECT_EQ(post("/api/judge", std::string(70000, 'x'))->status, 413);
  EXPECT_EQ(
      post("/api/judge", "{}", {{"Authorization", "Bearer token-a"}, {"Content-Encoding", "gzip"}})
          ->status,
      415);
  EXPECT_EQ(post("/api/next", "{}")->status, 404);
  EXPECT_TRUE(session_->state().judgements.empty());
}

TEST_F(LabelServerTest, TextComesAsTextWithItsWhiteSpace) {
  std::string seen;
  for (Json view = Json::parse(get("/api/next?token=token-a")->body); view["offer"] == "pair";) {
    seen += view["pair"]["prompt"][0]["text"].get<std::string>() +
            view["pair"]["left"].get<std::string>() + view["pair"]["right"].get<std::string>();
    view = Json::parse(post("/api/judge", judge_body(view, "both_bad"))->body);
  }
  EXPECT_THAT(seen, HasSubstr("<img src=x onerror=alert(1)>"));
  EXPECT_THAT(seen, HasSubstr("<b>a</b>"));
  EXPECT_THAT(seen, HasSubstr("b  \n\tc"));
}

TEST_F(LabelServerTest, APortThatIsTakenIsNamed) {
  try {
    const LabelServer second(*session_, {.port = server_->port(), .tokens = {}});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("cannot listen on 127.0.0.1"));
  }
}

TEST_F(LabelServerTest, FinishingEndsTheSession) {
  EXPECT_EQ(post("/api/finish", "{}")->status, 200);
  EXPECT_FALSE(session_->over());
  EXPECT_EQ(post("/api/finish", "{}", {{"Authorization", "Bearer token-b"}})->status, 200);
  EXPECT_TRUE(session_->over());
}

// Several browsers at once, some of them hostile.
TEST(LabelServers, PeopleAtOnce) {
  const ScratchFolder scratch;
  LabelFolder folder(scratch / "labels");
  folder.add(numbered_pairs(10));
  LabelSession session(folder, {.users = {"anna", "ben"}, .seed = 1});
  LabelServer server(session, {.tokens = {{"a", "anna"}, {"b", "ben"}}, .seed = 1});
  server.start();
  std::vector<std::thread> threads;
  for (const std::string token : {"a", "b", "wrong"}) {
    threads.emplace_back([&server, token] {
      httplib::Client client("127.0.0.1", server.port());
      for (int i = 0; i < 12; ++i) {
        const auto next = client.Get("/api/next?token=" + token);
        if (!next || next->status != 200) continue;
        const Json view = Json::parse(next->body);
        if (view["offer"] != "pair") continue;
        const Json body = {{"pair", view["pair"]["id"]}, {"verdict", "left"}};
        client.Post("/api/judge?token=" + token, body.dump(), "application/json");
        client.Get("/api/statistics?token=" + token);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  server.stop();
  EXPECT_EQ(session.state().judgements.size(), 20u);
}

}  // namespace
}  // namespace leash::label::testing
