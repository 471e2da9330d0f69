// A folder with a tiny model and what commands read, and what they print.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/process.h"
#include "tests/support/tiny_folder.h"

namespace leash::testing {

using Lines = std::vector<std::string>;
using Json = nlohmann::json;

inline Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Every line of standard output as JSON; a line that is none fails the test.
inline std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> values;
  for (const std::string& line : lines_of(text)) {
    values.push_back(Json::parse(line, nullptr, /*allow_exceptions=*/false));
    EXPECT_FALSE(values.back().is_discarded()) << "not JSON: " << line;
  }
  return values;
}

inline Lines keys_of(const Json& object) {
  Lines keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

inline std::vector<int64_t> ids_of(const std::string& bytes) {
  std::vector<int64_t> ids;
  for (const char c : bytes) ids.push_back(3 + static_cast<unsigned char>(c));
  return ids;
}

inline void expect_done(const Ended& ended) {
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.signal, 0) << ended.err;
  EXPECT_FALSE(ended.timed_out);
}

// The exit code, nothing on standard output, and a message that begins and reads like one.
inline void expect_error(const Ended& ended, int code, const std::string& part) {
  EXPECT_EQ(ended.code, code) << ended.err;
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, ::testing::HasSubstr("leash: error: "));
  EXPECT_THAT(ended.err, ::testing::HasSubstr(part));
  EXPECT_THAT(ended.err, ::testing::Not(::testing::HasSubstr("Exception raised from")));
}

class Workspace {
 public:
  explicit Workspace(const TinyOptions& options = tiny_byte_options()) {
    write_tiny_folder(model(), options);
  }
  std::filesystem::path model() const { return scratch_ / "model"; }
  std::filesystem::path operator/(const std::string& name) const { return scratch_ / name; }
  const std::filesystem::path& path() const { return scratch_.path(); }

  // A command on the tiny model.
  Ended run(const std::string& command, Lines args, ProcessOptions options = {}) const {
    args.insert(args.begin(), {command, "--model", model().string()});
    if (options.folder.empty()) options.folder = path();
    return run_leash(args, std::move(options));
  }

 private:
  ScratchFolder scratch_;
};

}  // namespace leash::testing
