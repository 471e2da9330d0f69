// JSON lines: what is an error, how it is named, and what is not even opened.
#include "rl/data/jsonl.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "rl/data/foreign_format.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::write_text;

class JsonLines : public ::testing::Test {
 protected:
  // Lines that were taken.
  std::vector<int64_t> read(const std::string& text, EmptyLines empty = EmptyLines::skipped) const {
    write_text(file(), text);
    std::vector<int64_t> taken;
    LineReader lines(file());
    for_each_json_line(lines, {{"a", "b"}}, empty,
                       [&](const nlohmann::json&, int64_t line) { taken.push_back(line); });
    return taken;
  }
  static std::string error(const std::function<void()>& what) {
    try {
      what();
    } catch (const FormatError& error) {
      return error.what();
    }
    return "no error";
  }
  std::string error_in(const std::string& text, EmptyLines empty = EmptyLines::skipped) const {
    return error([&] { read(text, empty); });
  }
  std::filesystem::path file() const { return folder_ / "d.jsonl"; }
  ScratchFolder folder_;
};

TEST_F(JsonLines, WhatIsNotOneObjectALineIsNamedByFileAndLine) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> kBad[] = {
      {"{\"a\": 1e999}", "is not valid JSON: number overflow"},
      {"{\"a\": 1}\0"s, "a zero byte at 8"},
      {"{\"a\": 1}\0{\"a\": 2}"s, "a zero byte at 8"},
      {"{\"a\": 1, \"b\": 2, \"a\": 3}", "the key \"a\" occurs twice"},
      {"{\"a\": {\"c\": 1, \"c\": 2}}", "the key \"c\" occurs twice"},
      {"{\"a\": 1}{\"a\": 2}", "is not valid JSON: parse error at column 9"},
      {"{\"a\": 1} x", "is not valid JSON: parse error at column 10"},
      {"{\"a\": \"\xFF\"}", "is not valid JSON: "},
      {"[1]", "is not a JSON object"}};
  for (const auto& [line, problem] : kBad) {
    EXPECT_THAT(error_in("{\"a\": 1}\n" + line + "\n{\"b\": 2}\n"),
                HasSubstr(file().string() + ":2: " + problem));
  }
}

TEST_F(JsonLines, EmptyLinesAreSkippedOrRefused) {
  const std::string text = "\xEF\xBB\xBF{\"a\": 1}\r\n\n \n{\"a\": 2}\n\n\n";
  EXPECT_THAT(read(text), ElementsAre(1, 4));
  EXPECT_EQ(error_in(text, EmptyLines::refused), file().string() + ":2: is empty");
  EXPECT_THAT(read("{\"a\": 1}\n\n\n", EmptyLines::refused), ElementsAre(1));
}

TEST_F(JsonLines, ALongLineIsRefusedAndNotKept) {
  EXPECT_EQ(error_in("{}\n" + std::string(kMaxLineBytes + 1, ' ') + "\n{}\n"),
            file().string() + ":2: the line is longer than 16 MiB");
  EXPECT_THAT(read("{}" + std::string(kMaxLineBytes - 2, ' ') + "\n{}"), ElementsAre(1, 2));
}

// Nothing here may wait for a writer, or read without end.
TEST_F(JsonLines, OnlyRegularFilesAreOpened) {
  const auto open = [](const std::filesystem::path& path) {
    return error([&] { LineReader lines(path); });
  };
  EXPECT_THAT(open("/dev/zero"), HasSubstr("/dev/zero: is no regular file"));
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(open(pipe), HasSubstr("is no regular file"));
  EXPECT_THAT(open(folder_.path()), HasSubstr("is a folder"));
  EXPECT_THAT(open(folder_ / "none"), HasSubstr("none: there is no such file"));
  std::filesystem::create_symlink(folder_ / "loop", folder_ / "loop");
  EXPECT_THAT(open(folder_ / "loop"), HasSubstr("loop: cannot be read: "));
}

TEST_F(JsonLines, OtherFormatsAreNamedWithWhatToDo) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> kOthers[] = {
      {"[\n  {\"a\": 1}\n]\n", "is a JSON array"},
      {"\xEF\xBB\xBF  [{\"a\": 1}]", "jq -c '.[]'"},
      {"{\n  \"a\": 1\n}\n", "with an object over several lines"},
      {"\x1f\x8b\x08\0\0"s, "gzip -dc"},
      {"PAR1\x15\x04", "is a Parquet file"},
      {"ARROW1\0\0"s, "is an Arrow file"},
      {"\x28\xb5\x2f\xfd\x24", "zstd -dc"},
      {"\xff\xfe{\0\"\0"s, "is UTF-16 text"},
      {"{\0\"\0"s, "iconv -f UTF-16"}};
  for (const auto& [text, what] : kOthers) {
    EXPECT_THAT(error_in(text), HasSubstr(what));
  }
  EXPECT_EQ(foreign_format("{\"a\": [1]}\n"), "");
  EXPECT_EQ(foreign_format("{"), "");
}

TEST_F(JsonLines, KeysThatNobodyReadsAreNamedOnce) {
  ::testing::internal::CaptureStderr();
  read("{\"a\": 1}\n{\"a\": 1, \"id\": 7}\n{\"id\": 8, \"b\": [{\"role\": \"x\", \"name\": 1}]}\n");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            fmt::format("leash: warning: {}: nothing here reads `id` (line 2)\n", file().string()));
  ::testing::internal::CaptureStderr();
  read("{\"a\": 1, \"b\": [3]}\n");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  std::string many = "{\"a\": 1";
  for (int i = 0; i < 50; ++i) many += fmt::format(", \"k{:02}\": 0", i);
  ::testing::internal::CaptureStderr();
  read(many + "}\n");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("`k09` (line 1) and more\n"));
}

}  // namespace
}  // namespace leash
