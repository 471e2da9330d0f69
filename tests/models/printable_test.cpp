// Text from outside on its way to a terminal; and what is said once.
#include "models/printable.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "models/notices.h"

namespace leash {
namespace {

TEST(Printable, OrdinaryTextStays) {
  for (const char* text : {"", "model.layers.0.q_proj", "ünïcödé 漢字 🙂", "a\\b 'c'"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, WhatATerminalObeysIsEscaped) {
  EXPECT_EQ(printable("\x1b[31mred\x1b[0m"), "\\x1b[31mred\\x1b[0m");
  EXPECT_EQ(printable("a\nb\tc\rd\x7f"), "a\\nb\\tc\\rd\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "\\x9b2J");  // C1's own "ESC ["
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "exe.txt\xe2\x81\xa6"),
            "\\u202eexe.txt\\u2066");
  EXPECT_EQ(printable("\xef\xbb\xbf"), "\\ufeff");
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Printable, LineBreaksOfAMessageStay) {
  EXPECT_EQ(printable_lines("one\n\x1b[2Jtwo\n"), "one\n\\x1b[2Jtwo\n");
  EXPECT_EQ(printable_lines("abc\nabcdef", 3), "abc\nabc…");
}

TEST(Printable, BytesThatAreNoUtf8) {
  EXPECT_EQ(printable("\xff\xc0\x80"), "\\xff\\xc0\\x80");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("ab\xe6\xbc"), "ab\\xe6\\xbc");       // cut
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(Printable, IsCutBetweenCharacters) {
  EXPECT_EQ(printable("漢字漢", 2), "漢字…");
  EXPECT_EQ(printable("漢字", 2), "漢字");
  EXPECT_LT(printable(std::string(1 << 20, '\x1b')).size(), 400u);
}

TEST(Notices, AreSaidOnce) {
  std::vector<std::string> said;
  send_notices([&](const std::string& text) { said.push_back(text); });
  for (const char* text : {"a", "b", "a"}) notice_once(text);
  EXPECT_EQ(said, (std::vector<std::string>{"a", "b"}));
  send_notices({});
}

}  // namespace
}  // namespace leash
