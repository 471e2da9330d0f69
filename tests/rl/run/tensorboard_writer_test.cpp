// Event files, against a file that TensorBoard's own writer made.
#include "rl/run/tensorboard_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/files.h"

namespace leash {
namespace {

using testing::read_text;
using testing::repository;
using testing::ScratchFolder;
using testing::write_text;
namespace fs = std::filesystem;

// What tests/golden/make_tensorboard.py writes; the records one by one.
std::vector<std::string> golden_records() {
  return {tensorboard_record(version_event(1700000000.5)),
          tensorboard_record(scalars_event(1700000001.25, 0, {})),
          tensorboard_record(scalars_event(1700000002.25, 1,
                                           {{"objective/kl", 0.25}, {"objective/scores", -1.5}})),
          tensorboard_record(scalars_event(
              1700000003.25, 300, {{"lr", 1e-05}, {"val/ratio", std::nan("")}, {"größe", 0.0}})),
          tensorboard_record(scalars_event(1700000004.25, int64_t{1} << 40, {{"loss", 1e30}}))};
}

std::string joined(const std::vector<std::string>& records, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += records[i];
  return all;
}

TEST(GoldenTensorboard, SameBytesAsItsOwnWriter) {
  const std::string golden = read_text(repository("tests/golden/tensorboard.tfevents"));
  EXPECT_EQ(joined(golden_records(), 5), golden);
}

TEST(Tensorboard, CutsAtTheStepAndAtDamage) {
  const std::vector<std::string> records = golden_records();
  const std::string all = joined(records, 5);
  const auto cut = [&](const std::string& bytes, int64_t step) {
    ScratchFolder folder;
    const fs::path file = folder / "events.out.tfevents.0000000001.host.1.0";
    write_text(file, bytes);
    truncate_events(folder.path(), step);
    return fs::exists(file) ? read_text(file) : "gone";
  };
  EXPECT_EQ(cut(all, int64_t{1} << 41), all);
  EXPECT_EQ(cut(all, 300), joined(records, 4));
  EXPECT_EQ(cut(all, 299), joined(records, 3));
  EXPECT_EQ(cut(all, 0), joined(records, 2));
  EXPECT_EQ(cut(all, -1), "gone");
  EXPECT_EQ(cut("", 5), "gone");
  EXPECT_EQ(cut(all.substr(0, all.size() - 1), int64_t{1} << 41), joined(records, 4));
  // Any changed byte ends the file before its record.
  const size_t third = joined(records, 2).size();
  for (size_t i = third; i < third + records[2].size(); ++i) {
    std::string damaged = all;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_EQ(cut(damaged, 300), joined(records, 2)) << i;
  }
}

TEST(Tensorboard, LyingRecordsAreNoEvents) {
  const std::string version = tensorboard_record(version_event(1));
  const std::string bad_events[] = {
      std::string("\x12\xFF\xFF\xFF\xFF\x0F", 6),  // a length past the end
      std::string("\x10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 13),  // a varint too long
      std::string("\x10", 1), std::string("\x09\x01", 2), std::string("\x0B", 1)};
  for (const std::string& event : bad_events) {
    ScratchFolder folder;
    const fs::path file = folder / "events.out.tfevents.0000000001.host.1.0";
    write_text(file, version + tensorboard_record(event) + version);
    truncate_events(folder.path(), 5);
    EXPECT_EQ(read_text(file), version);
  }
}

// TensorBoard's own writer says who it is, tensorboardX names its files otherwise, and anything can
// have such a name.
TEST(Tensorboard, FilesOfOtherProgramsAreLeftAlone) {
  ScratchFolder folder;
  const std::string ours = version_event(1);
  const std::string record = tensorboard_record(scalars_event(1, 9, {{"a", 1.0}}));
  const std::string writer("\x52\x05\x0A\x03tbw", 7);  // source_metadata { writer: "tbw" }
  const std::pair<std::string, std::string> others[] = {
      {"events.out.tfevents.0000000001.host.1.0", tensorboard_record(ours + writer) + record},
      {"events.out.tfevents.0000000001.host.1.1", "what somebody wrote down"},
      {"events.out.tfevents.0000000001.host", tensorboard_record(ours) + record},
      {"events.out.tfevents.0000000001.host.1.2.v2", tensorboard_record(ours) + record}};
  for (const auto& [name, text] : others) write_text(folder / name, text);
  write_text(folder / "elsewhere", tensorboard_record(ours) + record);
  fs::create_symlink(folder / "elsewhere", folder / "events.out.tfevents.0000000001.host.1.3");
  truncate_events(folder.path(), -1);
  for (const auto& [name, text] : others) EXPECT_EQ(read_text(folder / name), text) << name;
  EXPECT_EQ(read_text(folder / "elsewhere"), tensorboard_record(ours) + record);
}

TEST(Tensorboard, WritersInOneSecondGetFilesOfTheirOwn) {
  ScratchFolder folder;
  TensorboardWriter first(folder.path());
  TensorboardWriter second(folder.path());
  EXPECT_NE(first.path(), second.path());
  first.scalars(7, {{"a", 1.0}});
  first.sync();
  truncate_events(folder.path(), 6);
  EXPECT_EQ(fs::file_size(first.path()), fs::file_size(second.path()));
  EXPECT_THAT(first.path().filename().string(),
              ::testing::MatchesRegex("events\\.out\\.tfevents\\.[0-9]{10}\\..+\\.[0-9]+\\.0"));
}

}  // namespace
}  // namespace leash
