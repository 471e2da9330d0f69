// JSON from outside: strict, and never deeper than it needs to be.
#include "models/io/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "models/json_fields.h"
#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

std::string parse_error(const std::string& text) {
  return format_error([&] { parse_json(text, "origin"); });
}

TEST(JsonFile, MalformedTextNamesItsOriginAndPlace) {
  for (const std::string& text : {std::string(),
                                  std::string("{"),
                                  std::string("[1,]"),
                                  std::string("{'a':1}"),
                                  std::string("nan"),
                                  std::string("NaN"),
                                  std::string("Infinity"),
                                  std::string("01"),
                                  std::string("1 2"),
                                  std::string("// c\n1"),
                                  std::string("\"\t\""),
                                  std::string("\"\\x\""),
                                  std::string("\"\\ud800\""),
                                  std::string("\"\xC0\x80\""),
                                  std::string("\"\xED\xA0\x80\""),
                                  std::string("\"\xF4\x90\x80\x80\""),
                                  std::string("\"\xE2\x82\""),
                                  std::string("1\0", 2),
                                  std::string("1e999"),
                                  std::string("-1e999")}) {
    EXPECT_THAT(parse_error(text), HasSubstr("origin: ")) << text;
  }
  EXPECT_THAT(parse_error("{\n  \"a\": x}"), HasSubstr("line 2"));
}

// The parser stops at a zero byte; whatever stood behind it was never read.
TEST(JsonFile, ZeroBytes) {
  for (const std::string& text : {std::string("{\"a\":1}\0", 8), std::string("{\"a\":1}\0{}", 10),
                                  std::string("\0{}", 3), std::string("{\"a\0\":1}", 8)}) {
    EXPECT_THAT(parse_error(text), HasSubstr("zero byte"));
  }
  EXPECT_EQ(parse_json(R"({"a":"\u0000"})", "origin")["a"], std::string(1, '\0'));
}

TEST(JsonFile, KeysTwiceOnAnyLevel) {
  EXPECT_THAT(parse_error(R"({"a":1,"a":2})"), HasSubstr("\"a\" occurs twice"));
  EXPECT_THAT(parse_error(R"({"b":[{"a":1,"a":1}]})"), HasSubstr("twice"));
  EXPECT_EQ(parse_error(R"({"a":{"a":1},"b":{"a":1},"c":[{"a":1},{"a":1}]})"), "");
}

TEST(JsonFile, Depth) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(parse_error(nested(60)), "");
  EXPECT_THAT(parse_error(nested(100)), HasSubstr("nested too deeply"));
  EXPECT_THAT(parse_error(nested(3'000'000)), HasSubstr("nested too deeply"));
  EXPECT_THAT(parse_error(std::string(3'000'000, '[')), HasSubstr("nested too deeply"));
}

// A message must fit on a screen, whatever the file holds.
TEST(JsonFile, MessagesStayShort) {
  EXPECT_LT(parse_error("\"" + std::string(1'000'000, 'x')).size(), 1000U);
  EXPECT_LT(parse_error("{\"" + std::string(1'000'000, 'k') + "\":1,\"" +
                        std::string(1'000'000, 'k') + "\":1}")
                .size(),
            1000U);
}

TEST(JsonFile, Files) {
  const ScratchFolder folder;
  EXPECT_THAT(format_error([&] { read_json_file(folder / "none.json"); }),
              HasSubstr("none.json: no such file"));
  write_text(folder / "x.json", "{\"a\": 1}\n");
  EXPECT_EQ(read_json_file(folder / "x.json")["a"], 1);
}

TEST(JsonFile, AVeryLargeFileIsNotRead) {
  const ScratchFolder folder;
  write_text(folder / "large.json", "[]");
  std::filesystem::resize_file(folder / "large.json", (uintmax_t{128} << 20) + 1);  // zeros
  EXPECT_THAT(format_error([&] { read_json_file(folder / "large.json"); }),
              HasSubstr("large.json: is larger than 128 MiB"));
}

TEST(JsonFields, TypesAreChecked) {
  const auto json = nlohmann::json::parse(
      R"({"n": 3, "x": 1.5, "s": "text", "t": true, "l": [1, 2], "o": {"n": 4}, "z": null,
          "big": 18446744073709551615, "m": [1, "2"]})");
  const JsonFields fields(json, "file");
  EXPECT_EQ(fields.integer("n"), 3);
  EXPECT_EQ(fields.integer("z"), std::nullopt);
  EXPECT_EQ(fields.integer("absent"), std::nullopt);
  EXPECT_TRUE(fields.is_null("z"));
  EXPECT_FALSE(fields.is_null("absent"));
  EXPECT_EQ(fields.number("n"), 3.0);
  EXPECT_EQ(fields.integers("n"), std::vector<int64_t>{3});
  EXPECT_EQ(fields.integers("l"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(fields.object("o")->required_integer("n"), 4);
  for (const char* key : {"x", "s", "t", "l", "o", "big"}) {
    EXPECT_THAT(format_error([&] { fields.integer(key); }), HasSubstr(key)) << key;
  }
  EXPECT_THAT(format_error([&] { fields.boolean("n"); }), HasSubstr("file: 'n' is 3, true or"));
  EXPECT_NE(format_error([&] { fields.string("n"); }), "");
  EXPECT_NE(format_error([&] { fields.number("s"); }), "");
  EXPECT_NE(format_error([&] { fields.integers("m"); }), "");
  EXPECT_NE(format_error([&] { fields.object("l"); }), "");
  EXPECT_THAT(format_error([&] { fields.required_integer("q"); }), HasSubstr("'q' is missing"));
  EXPECT_NE(format_error([&] { JsonFields(nlohmann::json::array(), "f"); }), "");
}

// An object's members are many where a checkpoint has many tensors.
TEST(JsonFile, TimeGrowsWithTheSize) {
  std::string text = "{";
  for (int i = 0; i < 60'000; ++i) {
    text += (i == 0 ? "\"t" : ",\"t") + std::to_string(i) + R"(":{"shape":[1,2],"o":{}})";
  }
  const std::clock_t start = std::clock();  // of this process, whoever else is busy
  EXPECT_EQ(parse_json(text + "}", "origin").size(), 60'000u);
  EXPECT_LT(std::clock() - start, 2 * CLOCKS_PER_SEC);
}

TEST(JsonFile, KeysInTheOrderWritten) {
  const std::string text = R"({"b":{"z":1,"a":{"x":1},"m":[{"y":2}]},"a":{"q":1},"c":3})";
  EXPECT_EQ(keys_in_order(text, "b"), (std::vector<std::string>{"z", "a", "m"}));
  EXPECT_EQ(keys_in_order(text, "c"), std::vector<std::string>{});
  EXPECT_EQ(keys_in_order(text, "x"), std::vector<std::string>{});
}

}  // namespace
}  // namespace leash::testing
