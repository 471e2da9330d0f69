// GGUF files put together by hand: typed metadata, and headers that lie.
#include "models/io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

class Gguf : public ::testing::Test {
 protected:
  std::shared_ptr<const GgufFile> open(const std::string& bytes) const {
    write_text(folder_ / "x.gguf", bytes);
    return GgufFile::open(folder_ / "x.gguf");
  }
  // What opening and reading all of it complains of.
  std::string error_of(const std::string& bytes) const {
    const std::string error = format_error([&] {
      const auto file = open(bytes);
      for (const auto& name : file->names()) file->read(name, at::kFloat);
    });
    if (!error.empty()) {
      EXPECT_THAT(error, HasSubstr("x.gguf"));
    }
    return error;
  }
  std::string error_of(const GgufBytes& gguf) const { return error_of(gguf.bytes()); }
  ScratchFolder folder_;
};

using GgufHostile = Gguf;

GgufBytes two_tensors() {
  GgufBytes gguf;
  gguf.string("general.architecture", "llama").u32("n", 3);
  gguf.array("list", 8, 2, GgufBytes::text("a") + GgufBytes::text("bc"));
  gguf.tensor("a", {4}, 0, 0).tensor("b", {32}, 2, 32);
  gguf.data = std::string(32 + 18, '\1');
  return gguf;
}

TEST_F(Gguf, MetadataOfEveryType) {
  GgufBytes gguf;
  gguf.entry("u8", 0, bytes_of<uint8_t>(200)).entry("i8", 1, bytes_of<int8_t>(-100));
  gguf.entry("u16", 2, bytes_of<uint16_t>(60000)).entry("i16", 3, bytes_of<int16_t>(-30000));
  gguf.u32("u32", 4'000'000'000).entry("i32", 5, bytes_of<int32_t>(-2'000'000'000));
  gguf.f32("f32", 1.5F).entry("bool", 7, "\1").string("string", "text");
  gguf.entry("u64", 10, bytes_of<uint64_t>(INT64_MAX));
  gguf.entry("i64", 11, bytes_of<int64_t>(INT64_MIN)).entry("f64", 12, bytes_of(0.1));
  gguf.entry("odd bool", 7, "\xFF").entry("huge", 10, bytes_of(UINT64_MAX));
  const auto file = open(gguf.bytes());
  EXPECT_EQ(file->int_value("u8"), 200);
  EXPECT_EQ(file->int_value("i8"), -100);
  EXPECT_EQ(file->int_value("u16"), 60000);
  EXPECT_EQ(file->int_value("i16"), -30000);
  EXPECT_EQ(file->int_value("u32"), 4'000'000'000);
  EXPECT_EQ(file->int_value("i32"), -2'000'000'000);
  EXPECT_EQ(file->int_value("u64"), INT64_MAX);
  EXPECT_EQ(file->int_value("i64"), INT64_MIN);
  EXPECT_EQ(file->int_value("bool"), 1);
  EXPECT_EQ(file->int_value("odd bool"), 1);
  EXPECT_EQ(file->float_value("f32"), 1.5);
  EXPECT_EQ(file->float_value("f64"), 0.1);
  EXPECT_EQ(file->float_value("i8"), -100.0);
  EXPECT_EQ(file->string_value("string"), "text");
  EXPECT_EQ(file->int_value("absent"), std::nullopt);
  EXPECT_THAT(format_error([&] { file->int_value("f32"); }), HasSubstr("metadata 'f32' is float"));
  EXPECT_THAT(format_error([&] { file->int_value("huge"); }), HasSubstr("63 bits"));
  EXPECT_THAT(format_error([&] { file->int_value("string"); }), HasSubstr("'string' is string"));
  EXPECT_NE(format_error([&] { file->float_value("string"); }), "");
  EXPECT_NE(format_error([&] { file->string_value("u32"); }), "");
  EXPECT_NE(format_error([&] { file->strings("string"); }), "");
  EXPECT_NE(format_error([&] { file->ints("u32"); }), "");
}

TEST_F(Gguf, Arrays) {
  GgufBytes gguf;
  gguf.array("ints", 5, 2, bytes_of(-1) + bytes_of(7));
  gguf.array("floats", 6, 1, bytes_of(0.5F));
  gguf.array("strings", 8, 2, GgufBytes::text("") + GgufBytes::text("x"));
  gguf.array("none", 8, 0, "");
  const std::string inner = bytes_of<uint32_t>(0) + bytes_of<uint64_t>(3) + "abc";
  gguf.array("nested", 9, 2, inner + inner).u32("after", 5);
  const auto file = open(gguf.bytes());
  EXPECT_EQ(file->ints("ints"), (std::vector<int64_t>{-1, 7}));
  EXPECT_EQ(file->floats("ints"), (std::vector<double>{-1, 7}));
  EXPECT_EQ(file->floats("floats"), std::vector<double>{0.5});
  EXPECT_EQ(file->strings("strings"), (std::vector<std::string>{"", "x"}));
  EXPECT_EQ(file->strings("none"), std::vector<std::string>{});
  EXPECT_EQ(file->array_size("nested"), 2);
  EXPECT_EQ(file->array_size("after"), std::nullopt);
  EXPECT_EQ(file->int_value("after"), 5);
  EXPECT_THAT(format_error([&] { file->ints("floats"); }), HasSubstr("an array of float"));
  EXPECT_NE(format_error([&] { file->ints("nested"); }), "");
  EXPECT_NE(format_error([&] { file->floats("strings"); }), "");
  EXPECT_NE(format_error([&] { file->strings("ints"); }), "");
  EXPECT_NE(format_error([&] { file->int_value("ints"); }), "");
}

TEST_F(Gguf, ShapesAreTorchsAndOtherAlignmentsWork) {
  GgufBytes gguf;
  gguf.alignment = 64;
  gguf.u32("general.alignment", 64).tensor("m", {2, 3}, 0, 0).tensor("s", {}, 0, 64);
  gguf.data = std::string(24, '\0') + std::string(40, '\0') + bytes_of(2.5F);
  const auto file = open(gguf.bytes());
  EXPECT_EQ(file->shape("m"), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(file->read("s", at::kFloat).item<float>(), 2.5F);
  EXPECT_EQ(file->names(), (std::vector<std::string>{"m", "s"}));
  EXPECT_THAT(format_error([&] { file->shape("x"); }), HasSubstr("there is no tensor 'x'"));
  EXPECT_NE(format_error([&] { file->raw("x"); }), "");
}

TEST_F(GgufHostile, EveryPrefixIsRefused) {
  const std::string whole = two_tensors().bytes();
  ASSERT_EQ(error_of(whole), "");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size;
  }
  const std::string real = read_text(repository("tests/golden/gguf/tiny_v2.gguf"));
  ASSERT_EQ(error_of(real), "");
  for (size_t size = 0; size < real.size(); size += size < 1000 ? 1 : 37) {
    EXPECT_NE(error_of(real.substr(0, size)), "") << size;
  }
}

TEST_F(GgufHostile, MagicAndVersions) {
  EXPECT_THAT(error_of(std::string("GGML") + std::string(40, '\0')), HasSubstr("not a GGUF file"));
  for (const uint32_t version : {0U, 1U, 4U, 0x02000000U, 0x03000000U, 0xffffffffU}) {
    GgufBytes gguf = two_tensors();
    gguf.version = version;
    EXPECT_NE(error_of(gguf), "") << version;
  }
  GgufBytes big_endian = two_tensors();
  big_endian.version = 0x03000000;
  EXPECT_THAT(error_of(big_endian), HasSubstr("big-endian"));
  GgufBytes second = two_tensors();
  second.version = 2;
  EXPECT_EQ(error_of(second), "");
}

TEST_F(GgufHostile, AbsurdCounts) {
  for (const uint64_t count :
       {uint64_t{1000}, uint64_t{1} << 32, uint64_t{INT64_MAX}, uint64_t{1} << 63, UINT64_MAX}) {
    GgufBytes tensors = two_tensors();
    tensors.num_tensors = count;
    EXPECT_THAT(error_of(tensors), HasSubstr("cannot fit into the file")) << count;
    GgufBytes metadata = two_tensors();
    metadata.num_metadata = count;
    EXPECT_THAT(error_of(metadata), HasSubstr("cannot fit into the file")) << count;
    for (const uint32_t element : {0U, 8U, 9U, 12U}) {
      EXPECT_THAT(error_of(GgufBytes().array("a", element, count, "")),
                  HasSubstr("cannot fit into the file"))
          << count;
    }
    EXPECT_THAT(error_of(GgufBytes().entry("s", 8, bytes_of(count))), HasSubstr("does not fit"));
  }
}

TEST_F(GgufHostile, TypesAndNesting) {
  EXPECT_THAT(error_of(GgufBytes().entry("a", 13, "")), HasSubstr("type 13 does not exist"));
  EXPECT_THAT(error_of(GgufBytes().array("a", 99, 0, "")), HasSubstr("type 99"));
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += bytes_of<uint32_t>(9) + bytes_of<uint64_t>(1);
  EXPECT_THAT(error_of(GgufBytes().entry("a", 9, nested)), HasSubstr("nested too deeply"));
}

TEST_F(GgufHostile, NamesTwiceAndTooLong) {
  EXPECT_THAT(error_of(GgufBytes().u32("a", 1).u32("a", 1)), HasSubstr("'a' occurs twice"));
  GgufBytes gguf;
  gguf.tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 32);
  gguf.data = std::string(64, '\0');
  EXPECT_THAT(error_of(gguf), HasSubstr("'t' occurs twice"));
  EXPECT_THAT(error_of(GgufBytes().u32(std::string(70'000, 'k'), 1)), HasSubstr("70000 bytes"));
}

TEST_F(GgufHostile, Alignments) {
  for (const uint32_t alignment : {0U, 3U, 33U, 0xffffffffU}) {
    EXPECT_THAT(error_of(two_tensors().u32("general.alignment", alignment)),
                HasSubstr("no power of two"));
  }
  EXPECT_THAT(error_of(two_tensors().string("general.alignment", "32")), HasSubstr("no uint32"));
  EXPECT_NE(error_of(two_tensors().u32("general.alignment", 0x80000000U)), "");
}

TEST_F(GgufHostile, SizesThatOverflow) {
  const uint64_t half = uint64_t{1} << 32;
  for (const std::vector<uint64_t>& dimensions :
       std::vector<std::vector<uint64_t>>{{half, half},
                                          {UINT64_MAX},
                                          {uint64_t{INT64_MAX}},
                                          {0, half, half},
                                          {half, half, 0},
                                          {32, uint64_t{1} << 60},
                                          {65536, 65536, 65536, 65536}}) {
    for (const uint32_t type : {0U, 2U, 8U, 28U}) {
      GgufBytes gguf = two_tensors();
      gguf.tensor("w", dimensions, type, 64);
      EXPECT_THAT(error_of(gguf), HasSubstr("tensor 'w' overflows"));
    }
  }
  GgufBytes large = two_tensors();
  large.tensor("w", {uint64_t{1} << 50}, 0, 64);
  EXPECT_THAT(error_of(large), HasSubstr("reaches past"));
  GgufBytes many = two_tensors();
  many.tensor("w", {1, 1, 1, 1, 1}, 0, 64);
  EXPECT_THAT(error_of(many), HasSubstr("5 dimensions"));
}

TEST_F(GgufHostile, PlacesOfTensors) {
  const auto placed = [&](uint64_t offset, std::vector<uint64_t> dimensions = {8},
                          uint32_t type = 0) {
    GgufBytes gguf = two_tensors();
    gguf.data.resize(96);
    gguf.tensor("w", dimensions, type, offset);
    return error_of(gguf);
  };
  EXPECT_EQ(placed(64), "");
  EXPECT_THAT(placed(0), HasSubstr("'a' and 'w' overlap"));
  EXPECT_THAT(placed(32), HasSubstr("overlap"));
  EXPECT_THAT(placed(68), HasSubstr("not aligned"));
  EXPECT_THAT(placed(96), HasSubstr("reaches past"));
  EXPECT_THAT(placed(64, {9}), HasSubstr("reaches past"));
  EXPECT_THAT(placed(UINT64_MAX - 31), HasSubstr("reaches past"));
  EXPECT_THAT(placed(uint64_t{1} << 63), HasSubstr("reaches past"));
  EXPECT_THAT(placed(128, {0}), HasSubstr("reaches past"));  // nothing, but out of the file
  EXPECT_THAT(placed(64, {16}, 2), HasSubstr("not whole blocks of 32"));
  EXPECT_THAT(placed(64, {}, 2), HasSubstr("not whole blocks"));
}

TEST_F(GgufHostile, TypesThatAreNotSupportedAreAnErrorWhenRead) {
  GgufBytes gguf = two_tensors();
  gguf.tensor("w", {256}, 10, 64);  // Q2_K
  gguf.data.resize(64 + 84);
  const auto file = open(gguf.bytes());
  EXPECT_EQ(file->read("a", at::kFloat).numel(), 4);
  EXPECT_THAT(format_error([&] { file->read("w", at::kFloat); }),
              HasSubstr("tensor 'w' has the ggml type 10"));
}

TEST_F(GgufHostile, EmptyDimensions) {
  GgufBytes gguf = two_tensors();
  gguf.tensor("w", {0, 1'000'000'000'000}, 0, 0).tensor("q", {32, 0}, 2, 0);
  const auto file = open(gguf.bytes());
  EXPECT_EQ(file->read("w", at::kFloat).size(0), 1'000'000'000'000);
  EXPECT_EQ(file->read("q", at::kHalf).numel(), 0);
}

// A GGUF of metadata alone, as vocabularies are published.
TEST_F(GgufHostile, NoTensors) {
  EXPECT_EQ(error_of(GgufBytes().u32("a", 1)), "");
  EXPECT_EQ(error_of(GgufBytes()), "");
}

}  // namespace
}  // namespace leash::testing
