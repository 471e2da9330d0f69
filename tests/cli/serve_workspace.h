// A server on a tiny model with an adapter, as a process.
#pragma once

#include <memory>
#include <string>

#include "tests/cli/http_client.h"
#include "tests/cli/workspace.h"

namespace leash::testing {

inline constexpr const char* kCompletions = "/v1/completions";

class Server {
 public:
  explicit Server(const Workspace& work, Lines more = {},
                  std::map<std::string, std::string> environment = {})
      : log_(work / "server.log") {
    Lines args = {"serve", "--model", work.model().string(), "--port", "0"};
    args.insert(args.end(), more.begin(), more.end());
    Lines command = {"/bin/sh", "-c", "log=$1; shift; exec \"$@\" 2>\"$log\"", "sh", log_.string()};
    for (const std::string& word : leash_command(args)) command.push_back(word);
    std::filesystem::remove(log_);
    environment.emplace("OMP_NUM_THREADS", "1");
    process_ = std::make_unique<Process>(
        command, ProcessOptions{.environment = environment, .timeout_seconds = 300});
    const bool up = process_->wait_until([this] { return said().find("/v1 (") != said().npos; });
    EXPECT_TRUE(up) << said();
    const size_t at = said().find("http://");
    if (up) port_ = std::atoi(said().substr(said().find(':', at + 7) + 1).c_str());
  }
  int port() const { return port_; }
  std::string said() const {
    return std::filesystem::exists(log_) ? read_text(log_) : std::string();
  }
  Process& process() { return *process_; }

  HttpAnswer get(const std::string& path) const { return http(port_, "GET", path); }
  HttpAnswer post(const std::string& path, const Json& body) const {
    return http(port_, "POST", path, body.dump());
  }
  // The body of an answer that has to come.
  Json asked(const std::string& path, const Json& body) const {
    const HttpAnswer answer = post(path, body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json();
  }
  // An error, and whether its message has this part.
  void expect_refused(const std::string& path, const Json& body, int status,
                      const std::string& part) const {
    const HttpAnswer answer = post(path, body);
    EXPECT_EQ(answer.status, status) << answer.body;
    const Json json = answer.json();
    ASSERT_TRUE(json.is_object() && json.contains("error")) << answer.body;
    EXPECT_THAT(json["error"]["message"].get<std::string>(), ::testing::HasSubstr(part));
    EXPECT_TRUE(json["error"].contains("type"));
  }
  double metric(const std::string& name) const {
    for (const std::string& line : lines_of(get("/metrics").body)) {
      if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
    }
    return -1;
  }

 private:
  std::filesystem::path log_;
  std::unique_ptr<Process> process_;
  int port_ = 0;
};

}  // namespace leash::testing
