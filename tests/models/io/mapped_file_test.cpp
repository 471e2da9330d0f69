// Mapped files: what cannot be mapped is a FormatError, and tensors keep what they point into.
#include "models/io/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

std::string open_error(const std::filesystem::path& file) {
  return format_error([&] { MappedFile::open(file); });
}

TEST(MappedFile, WhatIsNoRegularFile) {
  const ScratchFolder folder;
  EXPECT_THAT(open_error(folder / "none"), HasSubstr("none: no such file"));
  EXPECT_THAT(open_error(folder.path()), HasSubstr("is a folder"));
  write_text(folder / "empty", "");
  EXPECT_THAT(open_error(folder / "empty"), HasSubstr("is empty"));
  EXPECT_THAT(open_error("/dev/null"), HasSubstr("no regular file"));
  EXPECT_THAT(open_error("/dev/full"), HasSubstr("no regular file"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(open_error(folder / "pipe"), HasSubstr("no regular file"));  // and nobody waits
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_THAT(open_error(folder / "loop"), HasSubstr("cannot open"));
  EXPECT_THAT(open_error(folder / std::string(300, 'x')), HasSubstr("cannot open"));
}

TEST(MappedFile, BytesAreTheFile) {
  const ScratchFolder folder;
  write_text(folder / "x", "abc");
  const auto file = MappedFile::open(folder / "x");
  EXPECT_EQ(file->path(), folder / "x");
  ASSERT_EQ(file->bytes().size(), 3U);
  EXPECT_EQ(file->bytes()[2], std::byte{'c'});
}

TEST(MappedFile, TensorsShareAndKeepTheMapping) {
  const ScratchFolder folder;
  write_text(folder / "x", bytes_of(1.5F) + bytes_of(2.5F));
  auto file = MappedFile::open(folder / "x");
  const auto* start = file->bytes().data();
  const at::Tensor shared = tensor_from_file(file, file->bytes(), {2}, at::kFloat, at::kFloat);
  EXPECT_EQ(static_cast<const void*>(start), shared.const_data_ptr());
  const at::Tensor converted = tensor_from_file(file, file->bytes(), {2}, at::kFloat, at::kDouble);
  file.reset();
  EXPECT_EQ(shared[1].item<float>(), 2.5F);
  EXPECT_EQ(converted[0].item<double>(), 1.5);
}

}  // namespace
}  // namespace leash::testing
