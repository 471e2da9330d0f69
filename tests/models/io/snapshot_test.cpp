// Snapshots appear whole or not at all, whatever happens to the process or the disk.
#include "models/io/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <system_error>

#include "models/io/crc32c.h"
#include "models/io/posix_file.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read_text;
using testing::ScratchFolder;
using testing::write_text;
namespace fs = std::filesystem;

void fill(const fs::path& folder, int64_t step) {
  write_text(folder / "policy" / "adapter_model.safetensors", std::string(5000, 'a'));
  write_text(folder / "state.json", "{\"step\": " + std::to_string(step) + "}");
}

Snapshot write_snapshot(const fs::path& run, int64_t step) {
  SnapshotWriter writer(run, step);
  fill(writer.folder(), step);
  return writer.commit();
}

std::vector<int64_t> steps_of(const fs::path& run) {
  std::vector<int64_t> steps;
  for (const Snapshot& snapshot : list_snapshots(run)) steps.push_back(snapshot.step);
  return steps;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// Runs `work` in a child; returns what waitpid says.
int in_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      work();
    } catch (const std::system_error& error) {
      ::_exit(error.code().value());
    } catch (...) {
      ::_exit(255);
    }
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(Crc32c, KnownValues) {  // RFC 3720, B.4
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  ScratchFolder scratch;
  const std::string text(700'001, 'x');
  write_text(scratch / "file", text);
  EXPECT_EQ(file_crc32c(scratch / "file"), crc32c(text));
  EXPECT_THROW(file_crc32c(scratch / "none"), std::system_error);
}

TEST(PosixFile, ReplaceAndCutAndAppend) {
  ScratchFolder scratch;
  replace_file(scratch / "f", "old");
  replace_file(scratch / "f", "new content");
  EXPECT_EQ(read_text(scratch / "f"), "new content");
  cut_file(scratch / "f", 3);
  AppendFile(scratch / "f").append("!");
  EXPECT_EQ(read_text(scratch / "f"), "new!");
  EXPECT_THROW(AppendFile(scratch / "f", AppendFile::Mode::create_new), std::system_error);
  EXPECT_THROW(replace_file(scratch / "none" / "f", "x"), std::system_error);
  EXPECT_THAT(names_in(scratch.path()), ElementsAre("f"));
}

TEST(Snapshot, WrittenSnapshotVerifies) {
  ScratchFolder run;
  EXPECT_FALSE(find_newest_snapshot(run.path()).newest);
  write_snapshot(run.path(), 9);
  const Snapshot snapshot = write_snapshot(run.path(), 10);
  EXPECT_EQ(snapshot.path, run / "snapshots" / "step-10");
  EXPECT_EQ(read_text(snapshot.path / "state.json"), "{\"step\": 10}");
  EXPECT_EQ(snapshot_damage(snapshot.path), std::nullopt);
  const SnapshotSearch search = find_newest_snapshot(run.path());
  ASSERT_TRUE(search.newest);
  EXPECT_EQ(search.newest->step, 10);
  EXPECT_THAT(search.messages, IsEmpty());
  EXPECT_THAT(names_in(run / "snapshots"), ElementsAre("step-10", "step-9"));
}

TEST(Snapshot, AnotherOfTheSameStepReplacesIt) {
  ScratchFolder run;
  write_snapshot(run.path(), 3);
  SnapshotWriter writer(run.path(), 3);
  write_text(writer.folder() / "only", "this");
  const Snapshot snapshot = writer.commit();
  EXPECT_EQ(snapshot_damage(snapshot.path), std::nullopt);
  EXPECT_THAT(names_in(snapshot.path), ElementsAre("MANIFEST.json", "only"));
  EXPECT_THAT(names_in(run / "snapshots"), ElementsAre("step-3"));
}

TEST(Snapshot, WithoutCommitNothingStays) {
  ScratchFolder run;
  {
    SnapshotWriter writer(run.path(), 1);
    fill(writer.folder(), 1);
  }
  EXPECT_THAT(names_in(run / "snapshots"), IsEmpty());
}

TEST(Snapshot, EveryDamageIsSeen) {
  ScratchFolder run;
  const auto damaged_by = [&](const std::function<void(const fs::path&)>& damage) {
    const fs::path folder = write_snapshot(run.path(), 5).path;
    damage(folder);
    return snapshot_damage(folder).value_or("none");
  };
  const auto write = [](const char* name, const std::string& text) {
    return [=](const fs::path& folder) { write_text(folder / name, text); };
  };
  EXPECT_EQ(damaged_by([](const fs::path&) {}), "none");
  EXPECT_THAT(damaged_by(write("state.json", "{\"step\": 6}")), HasSubstr("CRC-32C"));
  EXPECT_THAT(damaged_by(write("state.json", "{\"step\"")), HasSubstr("7 bytes, not 11"));
  EXPECT_THAT(damaged_by(write("more", "")), HasSubstr("more does not belong"));
  EXPECT_THAT(damaged_by([](auto& f) { fs::remove(f / "state.json"); }),
              HasSubstr("state.json is missing"));
  EXPECT_THAT(damaged_by([](auto& f) { fs::create_symlink("/etc/passwd", f / "link"); }),
              HasSubstr("link is not a plain file"));
  EXPECT_THAT(damaged_by([](auto& f) { fs::remove(f / "MANIFEST.json"); }),
              HasSubstr("MANIFEST.json is missing"));
  for (const char* lie : {"", "[]", "{\"files\": 3}", "{\"files\": {\"../x\": 1}}",
                          "{\"files\": {\"state.json\": {\"bytes\": -1, \"crc32c\": 0}}}"}) {
    EXPECT_NE(damaged_by(write("MANIFEST.json", lie)), "none") << lie;
  }
}

TEST(Snapshot, ADamagedOneIsPassedOver) {
  ScratchFolder run;
  write_snapshot(run.path(), 10);
  const fs::path newest = write_snapshot(run.path(), 20).path;
  fs::resize_file(newest / "policy" / "adapter_model.safetensors", 4999);
  fs::create_directories(run / "snapshots" / "step-030");  // not our spelling
  fs::create_directories(run / "snapshots" / "step-x");
  write_text(run / "snapshots" / "step-40", "a file");
  const SnapshotSearch search = find_newest_snapshot(run.path());
  ASSERT_TRUE(search.newest);
  EXPECT_EQ(search.newest->step, 10);
  EXPECT_THAT(search.messages,
              ElementsAre(HasSubstr("step-20: adapter_model.safetensors has 4999")));
  const auto aside = set_aside_later_snapshots(run.path(), 10);
  ASSERT_EQ(aside.size(), 1u);
  EXPECT_EQ(aside[0].step, 20);
  EXPECT_TRUE(fs::exists(run / "snapshots" / "damaged-step-20" / "state.json"));
  EXPECT_THAT(steps_of(run.path()), ElementsAre(10));
}

TEST(Snapshot, PruneKeepsTheNewestAndTheBest) {
  ScratchFolder run;
  for (const int64_t step : {1, 2, 3, 10, 20}) write_snapshot(run.path(), step);
  prune_snapshots(run.path(), 0);
  EXPECT_EQ(steps_of(run.path()).size(), 5u);
  prune_snapshots(run.path(), 2, 2);
  EXPECT_THAT(steps_of(run.path()), ElementsAre(2, 10, 20));
  prune_snapshots(run.path(), 1);
  EXPECT_THAT(steps_of(run.path()), ElementsAre(20));
  EXPECT_THAT(names_in(run / "snapshots"), ElementsAre("step-20"));
}

TEST(Snapshot, AWriterKilledBetweenFilesLosesNothing) {
  ScratchFolder run;
  write_snapshot(run.path(), 1);
  const int status = in_child([&] {
    SnapshotWriter writer(run.path(), 2);
    fill(writer.folder(), 2);
    ::kill(::getpid(), SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(names_in(run / "snapshots").size(), 2u);  // its temporary folder is still there
  EXPECT_EQ(find_newest_snapshot(run.path()).newest->step, 1);
  remove_leftovers(run.path());
  EXPECT_THAT(names_in(run / "snapshots"), ElementsAre("step-1"));
}

// Kills writers and prunes at many moments; whatever is listed must verify.
TEST(Snapshot, KilledAtAnyMomentWhatIsListedVerifies) {
  ScratchFolder run;
  write_snapshot(run.path(), 1);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int64_t step = 2;; ++step) {
        write_snapshot(run.path(), step % 5 + 1);
        prune_snapshots(run.path(), 2);
      }
    }
    ::usleep(static_cast<useconds_t>(500 + 613 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const SnapshotSearch search = find_newest_snapshot(run.path());
    EXPECT_TRUE(search.newest) << "round " << round;
    EXPECT_THAT(search.messages, IsEmpty());
    for (const Snapshot& snapshot : list_snapshots(run.path())) {
      EXPECT_EQ(snapshot_damage(snapshot.path), std::nullopt);
    }
    remove_leftovers(run.path());
  }
}

// RLIMIT_FSIZE stands in for a full disk: a write past it fails.
TEST(Snapshot, AFullDiskLeavesTheOlderOnes) {
  ScratchFolder run;
  write_snapshot(run.path(), 1);
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);  // the write then fails with EFBIG
    const rlimit limit = {4096, 4096};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(254);
    SnapshotWriter writer(run.path(), 2);
    AppendFile file(writer.folder() / "state.bin");
    file.append(std::string(5000, 'x'));
    writer.commit();
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), EFBIG);
  EXPECT_THAT(names_in(run / "snapshots"), ElementsAre("step-1"));
  EXPECT_EQ(find_newest_snapshot(run.path()).newest->step, 1);
}

// The manifest itself no longer fits: commit fails, and nothing stays.
TEST(Snapshot, AFullDiskInCommitLeavesTheOlderOnes) {
  ScratchFolder run;
  write_snapshot(run.path(), 1);
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    SnapshotWriter writer(run.path(), 1);  // of the same step as the good one
    for (int i = 0; i < 40; ++i) write_text(writer.folder() / std::to_string(i), "x");
    const rlimit limit = {512, 512};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(254);
    writer.commit();
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), EFBIG);
  EXPECT_THAT(names_in(run / "snapshots"), ElementsAre("step-1"));
  EXPECT_EQ(find_newest_snapshot(run.path()).newest->step, 1);
}

}  // namespace
}  // namespace leash
