// safetensors: what Python wrote is read and written again byte for byte; what lies is refused.
#include "models/io/safetensors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <system_error>

#include "tests/models/io/damage.h"
#include "tests/support/tensors.h"

namespace leash::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// The tensors of tests/golden/make_safetensors.py, computed here.
NamedTensors expected_tensors() {
  const at::Tensor base = at::arange(6, at::dtype(at::kDouble)).reshape({2, 3});
  NamedTensors tensors;
  for (const auto& [name, type] :
       std::vector<std::pair<std::string, at::ScalarType>>{{"f64", at::kDouble},
                                                           {"f32", at::kFloat},
                                                           {"f16", at::kHalf},
                                                           {"bf16", at::kBFloat16}}) {
    tensors.emplace_back(name, base.mul(1.5).sub(3).to(type));
  }
  for (const auto& [name, type] :
       std::vector<std::pair<std::string, at::ScalarType>>{{"i64", at::kLong},
                                                           {"i32", at::kInt},
                                                           {"i16", at::kShort},
                                                           {"i8", at::kChar},
                                                           {"u8", at::kByte}}) {
    tensors.emplace_back(name, base.mul(3).to(type));
  }
  tensors.emplace_back("bool", base.remainder(2).to(at::kBool));
  tensors.emplace_back("scalar", at::scalar_tensor(2.5, at::dtype(at::kFloat)));
  tensors.emplace_back("no rows", at::empty({0, 4}, at::dtype(at::kFloat)));
  tensors.emplace_back("odd name: ü \"quoted\" \\ \n", at::full({1}, 7, at::dtype(at::kByte)));
  return tensors;
}

TEST(GoldenSafetensors, EveryTypeIsRead) {
  const auto file = repository("tests/golden/dtypes.safetensors");
  const auto source = open_safetensors(file);
  const auto expected = expected_tensors();
  EXPECT_EQ(source->names().size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(source->contains(name)) << name;
    EXPECT_EQ(source->shape(name), tensor.sizes().vec()) << name;
    EXPECT_TRUE(same_bits(source->read(name, tensor.scalar_type()), tensor)) << name;
    EXPECT_TRUE(same_bits(source->read(name, at::kDouble), tensor.to(at::kDouble))) << name;
  }
  EXPECT_EQ(read_safetensors(file).size(), expected.size());
  EXPECT_EQ(read_safetensors_metadata(file),
            (std::map<std::string, std::string>{{"format", "pt"}}));
}

// Equal bytes: whatever reads Python's files reads ours.
TEST(GoldenSafetensors, OursAreTheBytesThatPythonWrites) {
  const ScratchFolder folder;
  write_safetensors(folder / "ours.safetensors", expected_tensors());
  EXPECT_EQ(read_text(folder / "ours.safetensors"),
            read_text(repository("tests/golden/dtypes.safetensors")));
}

TEST(Safetensors, StridedTensorsAndNoMetadata) {
  const ScratchFolder folder;
  const at::Tensor base = at::arange(6, at::dtype(at::kFloat)).reshape({2, 3});
  write_safetensors(folder / "x", {{"t", base.t()}, {"row", base.select(0, 1)}}, {});
  const auto source = open_safetensors(folder / "x");
  EXPECT_TRUE(same_bits(source->read("t", at::kFloat), base.t().contiguous()));
  EXPECT_TRUE(same_bits(source->read("row", at::kFloat), base.select(0, 1)));
  EXPECT_TRUE(read_safetensors_metadata(folder / "x").empty());
  write_safetensors(folder / "none", {});
  EXPECT_TRUE(read_safetensors(folder / "none").empty());
}

TEST(Safetensors, WriterRefusesWhatNobodyCouldRead) {
  const ScratchFolder folder;
  const at::Tensor one = at::full({1}, 1.0F);
  EXPECT_THROW(write_safetensors(folder / "x", {{"a", one}, {"a", one}}), c10::Error);
  EXPECT_THROW(write_safetensors(folder / "x", {{"__metadata__", one}}), c10::Error);
  EXPECT_THROW(write_safetensors(folder / "x", {{"a", at::Tensor()}}), c10::Error);
  EXPECT_THROW(write_safetensors(folder / "x", {{"a", one.to(at::kComplexFloat)}}), c10::Error);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

// The reader keeps the mapping, a copy does not need it.
TEST(Safetensors, TensorsOutliveTheirSource) {
  const ScratchFolder folder;
  const at::Tensor base = at::arange(1000, at::dtype(at::kFloat));
  write_safetensors(folder / "x", {{"a", base}});
  const at::Tensor read = open_safetensors(folder / "x")->read("a", at::kFloat);
  fs::remove(folder / "x");
  EXPECT_TRUE(same_bits(read, base));
}

// ---- Hostile files.

class SafetensorsHostile : public ::testing::Test {
 protected:
  // What opening `bytes` and reading all of it complains of.
  std::string error_of(const std::string& bytes) const {
    write_text(folder_ / "x.safetensors", bytes);
    const std::string error = format_error([&] {
      const auto source = open_safetensors(folder_ / "x.safetensors");
      for (const auto& name : source->names()) source->read(name, at::kFloat);
    });
    if (!error.empty()) {
      EXPECT_THAT(error, HasSubstr("x.safetensors"));
    }
    return error;
  }
  std::string error_of_header(const std::string& header, size_t data_size = 0) const {
    return error_of(safetensors_text(header, std::string(data_size, '\1')));
  }
  std::string error_of_entry(const std::string& entry, size_t data_size) const {
    return error_of_header(R"({"w":)" + entry + "}", data_size);
  }
  ScratchFolder folder_;
};

TEST_F(SafetensorsHostile, EveryPrefixIsRefused) {
  const std::string whole = read_text(repository("tests/golden/dtypes.safetensors"));
  ASSERT_EQ(error_of(whole), "");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size;
  }
  EXPECT_THAT(error_of(whole + "x"), HasSubstr("holds"));
}

TEST_F(SafetensorsHostile, HeaderLengths) {
  for (const uint64_t length :
       {uint64_t{0}, uint64_t{3}, uint64_t{100'000'001}, uint64_t{INT64_MAX}, uint64_t{1} << 63,
        UINT64_MAX, UINT64_MAX - 7}) {
    EXPECT_NE(error_of(bytes_of(length) + "{}"), "") << length;
  }
  EXPECT_EQ(error_of(bytes_of(uint64_t{2}) + "{}"), "");
}

TEST_F(SafetensorsHostile, HeadersThatAreNoObjects) {
  for (const char* header : {"[]", "null", " {}", "{", "{}}", "{\"w\":}", "3", "{\"\\ud800\":1}"}) {
    EXPECT_NE(error_of_header(header), "") << header;
  }
  EXPECT_NE(error_of_header(std::string("{\"\xFF\":1}")), "");   // no UTF-8
  EXPECT_NE(error_of_header(std::string("{\"w\xC3\":1}")), "");  // a cut character
  EXPECT_NE(error_of_header(std::string("{}\0\0", 4)), "");
  EXPECT_NE(error_of_header(R"({"__metadata__":{"a":1}})"), "");
  EXPECT_NE(error_of_header(R"({"__metadata__":[]})"), "");
}

TEST_F(SafetensorsHostile, DeepNesting) {
  const std::string deep = std::string(1'000'000, '[');
  EXPECT_THAT(error_of_header("{\"w\":" + deep), HasSubstr("nested too deeply"));
  std::string objects = "{\"w\":";
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_THAT(error_of_header(objects), HasSubstr("nested too deeply"));
}

TEST_F(SafetensorsHostile, EntriesOfWrongTypes) {
  for (const char* entry :
       {"3",
        "[]",
        "null",
        "\"F32\"",
        "{}",
        R"({"dtype":"F32","shape":[1]})",
        R"({"dtype":"F32","data_offsets":[0,4]})",
        R"({"shape":[1],"data_offsets":[0,4]})",
        R"({"dtype":1,"shape":[1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":["1"],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1e99],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,8]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[0,"4"]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})",
        R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"}) {
    EXPECT_THAT(error_of_entry(entry, 4), HasSubstr("tensor 'w'")) << entry;
  }
  EXPECT_EQ(error_of_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4), "");
}

TEST_F(SafetensorsHostile, SizesThatOverflow) {
  for (const char* shape :
       {"[4294967296,4294967296]", "[9223372036854775807]", "[18446744073709551615]",
        "[2,9223372036854775808]", "[0,4294967296,4294967296]", "[4611686018427387904,4]",
        "[65536,65536,65536,65536]"}) {
    const std::string entry =
        std::string(R"({"dtype":"F32","shape":)") + shape + R"(,"data_offsets":[0,0]})";
    EXPECT_THAT(error_of_entry(entry, 0), HasSubstr("overflows")) << shape;
  }
  std::string many = "[1";
  for (int i = 0; i < 64; ++i) many += ",1";
  EXPECT_THAT(error_of_entry(R"({"dtype":"F32","shape":)" + many + R"(],"data_offsets":[0,4]})", 4),
              HasSubstr("65 dimensions"));
}

TEST_F(SafetensorsHostile, SizesAgainstOffsets) {
  EXPECT_THAT(error_of_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4),
              HasSubstr("its shape and dtype need 8"));
  EXPECT_THAT(error_of_entry(R"({"dtype":"I8","shape":[1],"data_offsets":[0,4]})", 4),
              HasSubstr("need 1"));
  EXPECT_THAT(
      error_of_entry(R"({"dtype":"F32","shape":[0],"data_offsets":[0,18446744073709551612]})", 4),
      HasSubstr("need 0"));
  // Of a type that is not known nothing but its place can be checked.
  EXPECT_THAT(error_of_entry(R"({"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]})", 4),
              HasSubstr("dtype F8_E4M3, which is not supported"));
  EXPECT_THAT(error_of_entry(R"({"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,400]})", 4),
              HasSubstr("400"));
}

TEST_F(SafetensorsHostile, OverlapsAndHoles) {
  const auto two = [](const char* a, const char* b) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":{}}},)"
                       R"("b":{{"dtype":"U8","shape":[4],"data_offsets":{}}}}})",
                       a, b);
  };
  EXPECT_EQ(error_of_header(two("[4,8]", "[0,4]"), 8), "");
  EXPECT_THAT(error_of_header(two("[0,4]", "[0,4]"), 4), HasSubstr("overlap or hole"));
  EXPECT_THAT(error_of_header(two("[0,4]", "[3,7]"), 7), HasSubstr("overlap or hole"));
  EXPECT_THAT(error_of_header(two("[0,4]", "[5,9]"), 9), HasSubstr("overlap or hole"));
  EXPECT_THAT(error_of_header(two("[1,5]", "[5,9]"), 9), HasSubstr("overlap or hole"));
  EXPECT_THAT(error_of_header(two("[0,4]", "[4,8]"), 9), HasSubstr("the file holds 9"));
  EXPECT_THAT(error_of_header(two("[0,4]", "[4,8]"), 7), HasSubstr("truncated"));
}

TEST_F(SafetensorsHostile, NamesTwice) {
  const std::string entry = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_THAT(error_of_header("{\"a\":" + entry + ",\"a\":" + entry + "}"), HasSubstr("twice"));
  // The same name in another spelling.
  EXPECT_THAT(error_of_header("{\"a\":" + entry + ",\"\\u0061\":" + entry + "}"),
              HasSubstr("twice"));
  EXPECT_THAT(error_of_header(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],)"
                              R"("data_offsets":[0,0]}})"),
              HasSubstr("twice"));
}

TEST_F(SafetensorsHostile, EmptyDimensions) {
  write_text(folder_ / "x", safetensors_text(R"({"w":{"dtype":"F32","shape":[0,1000000000000,0],)"
                                             R"("data_offsets":[0,0]}})"));
  const auto source = open_safetensors(folder_ / "x");
  EXPECT_EQ(source->read("w", at::kFloat).numel(), 0);
  EXPECT_EQ(source->read("w", at::kHalf).size(1), 1'000'000'000'000);
}

// Only 0 and 1 are bools in memory; a file may hold anything.
TEST_F(SafetensorsHostile, OddBooleans) {
  write_text(folder_ / "x",
             safetensors_text(R"({"w":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})",
                              std::string("\0\1\xFF", 3)));
  const at::Tensor read = open_safetensors(folder_ / "x")->read("w", at::kBool);
  EXPECT_EQ(read.sum().item<int64_t>(), 2);
}

// Data may begin anywhere: the header's length is what the writer likes.
TEST_F(SafetensorsHostile, UnalignedData) {
  const std::string values = bytes_of(1.5F) + bytes_of(-2.0F);
  for (int pad = 0; pad < 8; ++pad) {
    write_text(folder_ / "x",
               safetensors_text(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" +
                                    std::string(static_cast<size_t>(pad), ' '),
                                values));
    const at::Tensor read = open_safetensors(folder_ / "x")->read("w", at::kFloat);
    EXPECT_EQ(read[0].item<float>(), 1.5F);
    EXPECT_EQ(read[1].item<float>(), -2.0F);
  }
}

TEST_F(SafetensorsHostile, MessagesStayShort) {
  const std::string long_name(1'000'000, 'n');
  EXPECT_LT(error_of_header("{\"" + long_name + "\":3}").size(), 1000U);
  EXPECT_LT(
      error_of_entry(R"({"dtype":"F32","shape":[")" + long_name + R"("],"data_offsets":[0,4]})", 4)
          .size(),
      1000U);
}

TEST_F(SafetensorsHostile, UnknownTensors) {
  const auto source = open_safetensors(repository("tests/golden/dtypes.safetensors"));
  EXPECT_THAT(format_error([&] { source->read("none", at::kFloat); }),
              HasSubstr("there is no tensor 'none'"));
  EXPECT_NE(format_error([&] { source->shape(""); }), "");
}

// A disk that fills up on the way, played by a limit on the size of files, in a process of its own.
TEST(Safetensors, FullDiskLeavesTheOldFileAndNothingElse) {
  const ScratchFolder folder;
  write_safetensors(folder / "x", {{"a", at::full({4}, 1.0F)}});
  const std::string before = read_text(folder / "x");
  const at::Tensor large = at::full({1 << 16}, 2.0F);
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_safetensors(folder / "x", {{"a", large}});
    } catch (const std::system_error& error) {
      ::_exit(std::string(error.what()).find("x") != std::string::npos ? error.code().value()
                                                                       : 254);
    } catch (...) {
      ::_exit(255);
    }
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), EFBIG);
  EXPECT_EQ(read_text(folder / "x"), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

// The reference implementation takes null for none.
TEST(Safetensors, MetadataMayBeNull) {
  const ScratchFolder folder;
  write_text(folder / "x", safetensors_text(R"({"__metadata__":null})"));
  EXPECT_TRUE(read_safetensors_metadata(folder / "x").empty());
  write_text(folder / "x", safetensors_text(R"({"__metadata__":{"a":null}})"));
  EXPECT_THAT(format_error([&] { open_safetensors(folder / "x"); }), HasSubstr("'a' is no string"));
}

TEST(Safetensors, NamesInMessagesAreEscapedAndShort) {
  const ScratchFolder folder;
  const std::string name = "\\u001b[2J" + std::string(100'000, 'n');
  write_text(folder / "x", safetensors_text("{\"" + name + R"(":{"dtype":"F32"}})"));
  const std::string error = format_error([&] { open_safetensors(folder / "x"); });
  EXPECT_THAT(error, HasSubstr("tensor '\\x1b[2Jnnn"));
  EXPECT_LT(error.size(), 1000u);
}

}  // namespace
}  // namespace leash::testing
