// A model cut into files as gguf-split does: read whole from any of them, or refused by name.
#include "models/io/gguf_parts.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/io/checkpoint.h"
#include "models/io/fingerprint.h"
#include "models/io/gguf.h"
#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

TEST(GgufPart, Names) {
  const auto part = gguf_part("a/b-c-00002-of-00012.gguf");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->name, "b-c");
  EXPECT_EQ(part->number, 2);
  EXPECT_EQ(part->count, 12);
  for (const char* name : {"x.gguf", "x-00003-of-00002.gguf", "x-00000-of-00002.gguf",
                           "x-1-of-2.gguf", "", "-00001-of-00002.gguf", "x-00001-of-00002.ggu",
                           "x-0000a-of-00002.gguf", "x-00001-of-70000.gguf"}) {
    EXPECT_FALSE(gguf_part(name)) << name;
  }
}

// Part `number` of `count`, each with one tensor of its own; the first one has the metadata.
std::string part_bytes(int number, int count, int tensors, const std::string& tensor) {
  GgufBytes gguf;
  if (number == 0) gguf.string("general.architecture", "llama");
  gguf.entry("split.no", 2, bytes_of(static_cast<uint16_t>(number)));
  gguf.entry("split.count", 2, bytes_of(static_cast<uint16_t>(count)));
  gguf.entry("split.tensors.count", 5, bytes_of(tensors));
  gguf.tensor(tensor, {1}, 0, 0);
  gguf.data = bytes_of(static_cast<float>(number));
  return gguf.bytes();
}

class SplitGguf : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i)
      write(i, part_bytes(i, 3, 3, std::string(1, static_cast<char>('a' + i))));
  }
  std::filesystem::path part(int i) const {
    return folder_ / ("m-0000" + std::to_string(i + 1) + "-of-00003.gguf");
  }
  void write(int i, const std::string& bytes) const { write_text(part(i), bytes); }
  std::string error() const {
    return format_error([&] { GgufFile::open(part(0)); });
  }
  ScratchFolder folder_;
};

TEST_F(SplitGguf, IsReadFromAnyPart) {
  for (int given = 0; given < 3; ++given) {
    const auto file = GgufFile::open(part(given));
    EXPECT_EQ(file->names(), (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(file->string_value("general.architecture"), "llama");
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(file->read(std::string(1, static_cast<char>('a' + i)), at::kFloat).item<float>(),
                static_cast<float>(i));
    }
  }
  EXPECT_EQ(fingerprint(part(0)), fingerprint(part(2)));
  // A folder that has nothing else is as good.
  EXPECT_EQ(resolve_model(folder_.path().string()), part(0));
  write_text(folder_ / "other.gguf", "");
  EXPECT_THAT(format_error([&] { resolve_model(folder_.path().string()); }),
              HasSubstr("give one of the files: m-00001-of-00003.gguf, other.gguf"));
}

TEST_F(SplitGguf, ThatIsNotCompleteIsRefused) {
  std::filesystem::remove(part(1));
  EXPECT_THAT(error(), HasSubstr("there is no m-00002-of-00003.gguf"));
  EXPECT_NE(format_error([&] { fingerprint(part(0)); }), "");
  write(1, part_bytes(1, 3, 3, "a"));
  EXPECT_THAT(error(), HasSubstr("tensor 'a' is in an earlier part, too"));
  write(1, part_bytes(2, 3, 3, "b"));
  EXPECT_THAT(error(), HasSubstr("is not part 2 of 3"));
  write(1, part_bytes(1, 2, 3, "b"));
  EXPECT_THAT(error(), HasSubstr("is not part 2 of 3"));
  write(1, part_bytes(1, 3, 3, "b").substr(0, 40));
  EXPECT_NE(error(), "");
  write(1, part_bytes(1, 3, 3, "b"));
  EXPECT_EQ(error(), "");
  write(0, part_bytes(0, 3, 4, "a"));
  EXPECT_THAT(error(), HasSubstr("names 4 tensors for all parts, and there are 3"));
}

TEST_F(SplitGguf, NamesAndTypesThatDoNotFit) {
  std::filesystem::rename(part(0), folder_ / "renamed.gguf");
  EXPECT_THAT(format_error([&] { GgufFile::open(folder_ / "renamed.gguf"); }),
              HasSubstr("is one of 3 parts"));
  write(0, GgufBytes().string("split.count", "3").bytes());
  EXPECT_THAT(error(), HasSubstr("'split.count' is no 16- or 32-bit integer"));
  GgufBytes more;
  more.entry("split.no", 2, bytes_of<uint16_t>(1)).entry("split.count", 2, bytes_of<uint16_t>(3));
  write(0, part_bytes(0, 3, 3, "a"));
  write(1, more.u32("llama.block_count", 1).bytes());
  EXPECT_THAT(error(), HasSubstr("'llama.block_count', which the first part does not have"));
}

}  // namespace
}  // namespace leash::testing
