// What stays of a text that is too long. The expected ids are those of Hugging Face's tokenizers
// with truncation enabled (0.22, byte-level BPE without merges, the same template).
#include "rl/data/cut_text.h"

#include <gmock/gmock.h>

#include "models/errors.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::write_text;

class CutTextTest : public ::testing::Test {
 protected:
  CutTextTest() {
    write_text(folder / "tokenizer.json", testing::byte_tokenizer_with_template_json());
    write_text(folder / "tokenizer_config.json", "{}");
    tokenizer.emplace(Tokenizer::load(folder.path()));
  }
  CutText cut(const char* text, int64_t max_length,
              TruncationMode mode = TruncationMode::keep_start) const {
    return cut_text(*tokenizer, text, {.max_length = max_length, .mode = mode});
  }
  const ScratchFolder folder;
  std::optional<Tokenizer> tokenizer;
};

TEST_F(CutTextTest, SpecialTokensOfTheTemplateStay) {
  EXPECT_THAT(cut("abcdef", 8).ids,
              ElementsAre(1, 3 + 'a', 3 + 'b', 3 + 'c', 3 + 'd', 3 + 'e', 3 + 'f', 2));
  EXPECT_EQ(cut("abcdef", 8).cut, 0);
  EXPECT_THAT(cut("abcdef", 4).ids, ElementsAre(1, 3 + 'a', 3 + 'b', 2));
  EXPECT_EQ(cut("abcdef", 4).cut, 4);
  EXPECT_THAT(cut("abcdef", 4, TruncationMode::keep_end).ids, ElementsAre(1, 3 + 'e', 3 + 'f', 2));
  EXPECT_THAT(cut("abcdef", 3).ids, ElementsAre(1, 3 + 'a', 2));
  EXPECT_THROW(cut("abcdef", 2), FormatError);  // theirs is a text without a word
  EXPECT_THAT(cut("", 2).ids, ElementsAre(1, 2));
}

TEST_F(CutTextTest, TheLimitIsReadBack) {
  EXPECT_FALSE(read_text_limit(folder.path()));
  const TextLimit limit{.max_length = 77, .mode = TruncationMode::keep_end};
  write_text_limit(folder.path(), limit);
  EXPECT_EQ(read_text_limit(folder.path()), limit);
  for (const char* bad :
       {"{}", "[]", R"({"max_length": 0, "truncation_mode": "keep_end"})",
        R"({"max_length": 3, "truncation_mode": "middle"})", R"({"max_length": "3"})"}) {
    write_text(folder / "truncation.json", bad);
    EXPECT_THROW(read_text_limit(folder.path()), FormatError) << bad;
  }
}

}  // namespace
}  // namespace leash
