// Files that appear whole or not at all, and appends whose errors are noticed.
#include "models/io/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <system_error>

#include "models/io/posix_file.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

int64_t entries_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

// The message of the system_error that `action` throws, "" when there is none.
template <class Action>
std::string system_error_of(const Action& action) {
  try {
    action();
  } catch (const std::system_error& error) {
    return error.what();
  }
  return "";
}

TEST(AtomicFile, AppearsAtCommit) {
  const ScratchFolder folder;
  {
    AtomicFile file(folder / "x");
    file.write("ab", 2);
    EXPECT_FALSE(fs::exists(folder / "x"));
    file.write("c", 1);
    file.commit();
  }
  EXPECT_EQ(read_text(folder / "x"), "abc");
  write_text_file(folder / "x", "");
  EXPECT_EQ(read_text(folder / "x"), "");
  EXPECT_EQ(entries_in(folder.path()), 1);
}

TEST(AtomicFile, WithoutCommitTheOldFileStays) {
  const ScratchFolder folder;
  write_text_file(folder / "x", "old");
  {
    AtomicFile file(folder / "x");
    file.write("new", 3);
  }
  EXPECT_EQ(read_text(folder / "x"), "old");
  EXPECT_EQ(entries_in(folder.path()), 1);
}

TEST(AtomicFile, TwoWritersOfOneFileDoNotMix) {
  const ScratchFolder folder;
  AtomicFile first(folder / "x");
  AtomicFile second(folder / "x");
  first.write("first", 5);
  second.write("second", 6);
  first.commit();
  EXPECT_EQ(read_text(folder / "x"), "first");
  second.commit();
  EXPECT_EQ(read_text(folder / "x"), "second");
}

TEST(AtomicFile, PlacesThatCannotBeWritten) {
  const ScratchFolder folder;
  EXPECT_THAT(system_error_of([&] { AtomicFile file(folder / "none/x"); }), HasSubstr("none/x"));
  write_text(folder / "taken/inner", "x");
  EXPECT_THAT(system_error_of([&] { write_text_file(folder / "taken", "text"); }),
              HasSubstr("cannot put in place"));
  EXPECT_EQ(entries_in(folder.path()), 1);
}

TEST(PosixFile, AppendsAndCreatesNew) {
  const ScratchFolder folder;
  {
    AppendFile file(folder / "x");
    file.append("one\n");
    file.append("");
    file.sync();
  }
  AppendFile(folder / "x").append("two\n");
  EXPECT_EQ(read_text(folder / "x"), "one\ntwo\n");
  EXPECT_THAT(system_error_of([&] { AppendFile file(folder / "x", AppendFile::Mode::create_new); }),
              HasSubstr("cannot open"));
  cut_file(folder / "x", 3);
  EXPECT_EQ(read_text(folder / "x"), "one");
  EXPECT_NE(system_error_of([&] { cut_file(folder / "none", 0); }), "");
}

TEST(PosixFile, AFullDiskIsNoticed) {
  AppendFile full("/dev/full");
  try {
    full.append("text");
    FAIL() << "written to a full disk";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), ENOSPC);
    EXPECT_THAT(error.what(), HasSubstr("/dev/full"));
  }
}

TEST(PosixFile, ReplaceFileIsWhole) {
  const ScratchFolder folder;
  replace_file(folder / "x", "one");
  replace_file(folder / "x", "two");
  EXPECT_EQ(read_text(folder / "x"), "two");
  write_text(folder / "taken/inner", "x");
  EXPECT_NE(system_error_of([&] { replace_file(folder / "taken", "text"); }), "");
  EXPECT_NE(system_error_of([&] { replace_file(folder / "none/x", "text"); }), "");
  EXPECT_EQ(entries_in(folder.path()), 2);
}

}  // namespace
}  // namespace leash::testing
