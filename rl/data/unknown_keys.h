// Keys of a file's records that nobody reads, for one warning.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leash {

// Of a record. Messages may have any: chat templates read them.
struct KnownKeys {
  std::vector<std::string_view> record;
  bool any = false;  // somebody reads the others too
};

class UnknownKeys {
 public:
  explicit UnknownKeys(KnownKeys known) : known_(std::move(known)) {}

  void look_at(const nlohmann::ordered_json& record, int64_t line);
  // "`id` (line 1), `messages[].name` (line 3)", the first ten; empty where there is none.
  std::string text() const;

 private:
  void add(const std::string& path, int64_t line);

  KnownKeys known_;
  std::vector<std::pair<std::string, int64_t>> found_;  // with the first line
  bool more_ = false;
};

}  // namespace leash
