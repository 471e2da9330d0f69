// The labelling page and its interface, over HTTP on one address (docs/feedback.md).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "experiments/label/session.h"

namespace leash::label {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;                               // 0: any that is free
  std::map<std::string, std::string> tokens;  // token to person
  uint64_t seed = 0;                          // of the intervals in statistics
};

class LabelServer {
 public:
  // Binds. ConfigError where that is not possible.
  LabelServer(LabelSession& session, ServerOptions options);
  ~LabelServer();  // stops
  LabelServer(const LabelServer&) = delete;
  LabelServer& operator=(const LabelServer&) = delete;

  int port() const;
  // What that person opens.
  std::string address(const std::string& user) const;
  void start();  // answers from a thread of its own
  void stop();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace leash::label
