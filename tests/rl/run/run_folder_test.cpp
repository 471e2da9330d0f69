// A run's folder: one writer, and exactly the records of the snapshot after a resume.
#include "rl/run/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <optional>

#include "models/errors.h"
#include "rl/run/run_log.h"
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

// What opening a folder says when it refuses; nullopt when it does not.
template <class Error>
std::optional<std::string> refusal(const fs::path& path, bool resume) {
  try {
    RunFolder::open(path, resume);
  } catch (const Error& error) {
    return error.what();
  }
  return std::nullopt;
}

Snapshot write_snapshot(const fs::path& run, int64_t step) {
  SnapshotWriter writer(run, step);
  write_text(writer.folder() / "state", std::to_string(step));
  return writer.commit();
}

fs::path event_file(const fs::path& run) {
  fs::path found;
  for (const auto& entry : fs::directory_iterator(run)) {
    if (entry.path().filename().string().starts_with("events.")) found = entry.path();
  }
  return found;
}

// A run that did `steps` steps, two samples each, and snapshots of some.
void write_run(const fs::path& run, int64_t steps, const std::vector<int64_t>& snapshots) {
  write_text(run / "resolved.yaml", "task: ppo\n");
  Console silent(-1, false);
  RunLog log(run, {.total_steps = steps, .tensorboard = true}, silent);
  for (int64_t step = 1; step <= steps; ++step) {
    log.step(step, {{"objective/kl", 0.1 * static_cast<double>(step)}});
    log.sample({.step = step, .prompt = "p", .answer = "a"});
    log.sample({.step = step, .index = 1, .prompt = "p", .answer = "b\n"});
    for (const int64_t snapshot : snapshots) {
      if (snapshot == step) log.sync(), write_snapshot(run, step);
    }
  }
}

TEST(RunFolder, CreatesAndLocks) {
  ScratchFolder scratch;
  const fs::path path = scratch / "runs" / "first";
  const RunFolder run = RunFolder::open(path, false);
  EXPECT_EQ(run.path(), path);
  EXPECT_FALSE(run.snapshot());
  EXPECT_FALSE(run.started_afresh());
  EXPECT_EQ(refusal<ConfigError>(path, false),
            path.string() + " is in use by another run (pid " + std::to_string(::getpid()) + ")");
}

TEST(RunFolder, TheLockIsGoneWithItsOwnerHoweverItEnds) {
  ScratchFolder scratch;
  { const RunFolder run = RunFolder::open(scratch.path(), false); }
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunFolder run = RunFolder::open(scratch.path(), false);
    (void)!::write(ready[1], "x", 1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THAT(refusal<ConfigError>(scratch.path(), true).value_or(""),
              HasSubstr("in use by another run (pid " + std::to_string(child) + ")"));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(refusal<ConfigError>(scratch.path(), true), std::nullopt);
}

// A run that fails before it has written anything leaves nothing behind.
TEST(RunFolder, WhatWasCreatedAndStayedEmptyGoesAgain) {
  const ScratchFolder folder;
  { const RunFolder run = RunFolder::open(folder / "new", false); }
  EXPECT_FALSE(fs::exists(folder / "new"));
  fs::create_directory(folder / "was-there");
  { const RunFolder run = RunFolder::open(folder / "was-there", false); }
  EXPECT_TRUE(fs::exists(folder / "was-there"));
  {
    const RunFolder run = RunFolder::open(folder / "used", false);
    write_text(folder / "used" / "metrics.jsonl", "");
  }
  EXPECT_TRUE(fs::exists(folder / "used" / "metrics.jsonl"));
}

TEST(RunFolder, AUsedFolderNeedsResume) {
  ScratchFolder scratch;
  write_run(scratch.path(), 2, {});
  const std::string before = read_text(scratch / "metrics.jsonl");
  const std::string text = refusal<ConfigError>(scratch.path(), false).value_or("");
  EXPECT_THAT(text, HasSubstr("--resume"));
  EXPECT_THAT(text, HasSubstr("--run-dir"));
  EXPECT_EQ(read_text(scratch / "metrics.jsonl"), before);
}

// All files below a folder with what they hold, links by where they lead.
std::map<std::string, std::string> everything_in(const fs::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_symlink()) {
      found[name] = "-> " + fs::read_symlink(entry.path()).string();
    } else {
      found[name] = entry.is_regular_file() ? read_text(entry.path()) : "";
    }
  }
  return found;
}

TEST(RunFolder, AFolderOfOthersIsRefusedAndNothingInItChanges) {
  const std::string theirs = "{\"step\": 1, \"loss\": 2}\n";  // a popular format
  for (const auto& [name, text] :
       {std::pair<std::string, std::string>{"samples.jsonl", "{\"x\": 1}\n"},
        {"metrics.jsonl", theirs},
        {"report.html", "<p>"},
        {"notes.txt", "mine"},
        {".lock", "another program's"},
        {"resolved.yaml", "trainer: theirs\n"},
        {"snapshots/step-1/weights", "w"},
        {"events.out.tfevents.0000000001.host.1.0", "x"}}) {
    ScratchFolder scratch;
    fs::create_directories((scratch / name).parent_path());
    write_text(scratch / name, text);
    if (name == ".lock") write_text(scratch / "more", "");
    const auto before = everything_in(scratch.path());
    for (const bool resume : {false, true}) {
      EXPECT_THAT(refusal<ConfigError>(scratch.path(), resume).value_or(""),
                  HasSubstr(scratch.path().string() + " holds files ("))
          << name;
    }
    EXPECT_EQ(everything_in(scratch.path()), before) << name;
  }
}

// In a run's folder, too: a file of that name that others wrote.
TEST(RunFolder, RecordsOfAnotherFormatAreNeitherCutNorContinued) {
  for (const char* name : {"metrics.jsonl", "samples.jsonl"}) {
    ScratchFolder scratch;
    write_run(scratch.path(), 3, {2});
    write_text(scratch / name, "id,text\n1,a\n");
    const auto before = everything_in(scratch.path());
    EXPECT_THAT(refusal<ConfigError>(scratch.path(), true).value_or(""),
                HasSubstr((scratch / name).string() + " was not written by a run of leash"));
    EXPECT_EQ(everything_in(scratch.path()), before);
    write_text(scratch / name, "{\"st");  // torn
    EXPECT_EQ(refusal<ConfigError>(scratch.path(), true), std::nullopt);
  }
}

TEST(RunFolder, NoSymbolicLinkIsFollowed) {
  for (const char* name :
       {"metrics.jsonl", "samples.jsonl", "resolved.yaml", ".lock", "report.html", "timeline.json",
        "adapter", "evaluations", "snapshots", "adapter/adapter_config.json",
        "evaluations/step-0.json", "snapshots/step-2", "events.out.tfevents.0000000001.host.1.0"}) {
    ScratchFolder scratch, elsewhere;
    write_run(scratch.path(), 3, {2});
    write_text(elsewhere / "file", "{\"step\": 9}\n");
    fs::create_directories((scratch / name).parent_path());
    fs::remove_all(scratch / name);
    fs::create_symlink(elsewhere / "file", scratch / name);
    const auto before = everything_in(scratch.path());
    EXPECT_THAT(refusal<ConfigError>(scratch.path(), true).value_or(""),
                HasSubstr((scratch / name).string() + " is a symbolic link"));
    EXPECT_EQ(everything_in(scratch.path()), before) << name;
    EXPECT_EQ(read_text(elsewhere / "file"), "{\"step\": 9}\n");
  }
  ScratchFolder scratch;
  write_run(scratch.path(), 3, {2});
  fs::remove(scratch / "samples.jsonl");
  ASSERT_EQ(::mkfifo((scratch / "samples.jsonl").c_str(), 0600), 0);
  EXPECT_THAT(refusal<ConfigError>(scratch.path(), true).value_or(""),
              HasSubstr("samples.jsonl is not a plain file"));
}

// The lock alone says that a run began here, which was killed before it wrote anything.
TEST(RunFolder, AKilledBeginningIsKnown) {
  ScratchFolder scratch;
  { const RunFolder run = RunFolder::open(scratch.path(), false); }
  write_text(scratch / "timeline.json", "[\n");
  EXPECT_EQ(refusal<ConfigError>(scratch.path(), false), std::nullopt);
}

TEST(RunFolder, WhatKilledWritersLeftIsRemoved) {
  ScratchFolder scratch;
  write_run(scratch.path(), 3, {2});
  const std::string ours[] = {"resolved.yaml.77-0.tmp", "report.html.tmp-77",
                              "adapter/adapter_model.safetensors.77-12.tmp",
                              "evaluations/step-3.json.77-1.tmp"};
  const std::string others[] = {"notes.tmp", "resolved.yaml.tmp", "thesis.tex.1-2.tmp",
                                "evaluations/mine.json.7-1.tmp", "adapter/x.bin.tmp-7"};
  for (const char* folder : {"adapter", "evaluations"}) fs::create_directory(scratch / folder);
  for (const std::string& name : ours) write_text(scratch / name, "half");
  for (const std::string& name : others) write_text(scratch / name, "x");
  { const RunFolder run = RunFolder::open(scratch.path(), true); }
  for (const std::string& name : ours) EXPECT_FALSE(fs::exists(scratch / name)) << name;
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(scratch / name)) << name;
}

TEST(RunFolder, AFileInItsPlaceIsAConfigError) {
  ScratchFolder scratch;
  write_text(scratch / "file", "x");
  EXPECT_THAT(refusal<ConfigError>(scratch / "file", false).value_or(""),
              HasSubstr("cannot create"));
}

TEST(RunFolder, ResumeWithoutSnapshotStartsAfresh) {
  ScratchFolder scratch;
  write_run(scratch.path(), 2, {});
  const RunFolder run = RunFolder::open(scratch.path(), true);
  EXPECT_FALSE(run.snapshot());
  EXPECT_TRUE(run.started_afresh());
  EXPECT_THAT(run.messages(),
              ElementsAre(scratch.path().string() + " has no snapshot: the run starts afresh"));
  EXPECT_EQ(read_text(scratch / "metrics.jsonl"), "");
  EXPECT_EQ(read_text(scratch / "samples.jsonl"), "");
  EXPECT_EQ(event_file(scratch.path()), "");
}

TEST(RunFolder, ResumeCutsRecordsToTheSnapshot) {
  ScratchFolder whole, scratch;
  write_run(whole.path(), 3, {});
  write_run(scratch.path(), 5, {2, 3});
  fs::create_directories(scratch / "snapshots" / ".step-5.tmp-77");
  write_text(scratch / "metrics.jsonl",
             read_text(scratch / "metrics.jsonl") + "{\"step\": 6, \"ob");
  const RunFolder run = RunFolder::open(scratch.path(), true);
  ASSERT_TRUE(run.snapshot());
  EXPECT_EQ(run.snapshot()->step, 3);
  EXPECT_THAT(run.messages(), IsEmpty());
  EXPECT_EQ(read_text(scratch / "metrics.jsonl"), read_text(whole / "metrics.jsonl"));
  EXPECT_EQ(read_text(scratch / "samples.jsonl"), read_text(whole / "samples.jsonl"));
  EXPECT_EQ(fs::file_size(event_file(scratch.path())), fs::file_size(event_file(whole.path())));
  EXPECT_FALSE(fs::exists(scratch / "snapshots" / ".step-5.tmp-77"));
}

TEST(RunFolder, ADamagedSnapshotMeansTheOneBefore) {
  ScratchFolder scratch;
  write_run(scratch.path(), 5, {2, 4});
  write_text(scratch / "snapshots" / "step-4" / "state", "5");
  {
    const RunFolder run = RunFolder::open(scratch.path(), true);
    EXPECT_EQ(run.snapshot()->step, 2);
    EXPECT_THAT(run.messages(), ElementsAre(HasSubstr("step-4: state was changed")));
    EXPECT_EQ(read_metrics(scratch / "metrics.jsonl").back().step, 2);
  }
  EXPECT_EQ(list_snapshots(scratch.path()).size(), 1u);  // prune must not count the damaged one
}

TEST(RunFolder, WhenAllSnapshotsAreDamagedNothingIsTouched) {
  ScratchFolder scratch;
  write_run(scratch.path(), 3, {2});
  fs::remove(scratch / "snapshots" / "step-2" / "state");
  const std::string before = read_text(scratch / "metrics.jsonl");
  EXPECT_THAT(refusal<FormatError>(scratch.path(), true).value_or(""),
              HasSubstr("every snapshot is damaged"));
  EXPECT_EQ(read_text(scratch / "metrics.jsonl"), before);
  EXPECT_EQ(list_snapshots(scratch.path()).size(), 1u);
}

TEST(RunFolder, LostLinesAreSaid) {
  ScratchFolder scratch;
  write_run(scratch.path(), 4, {4});
  truncate_json_lines(scratch / "metrics.jsonl", 2);
  EXPECT_THAT(RunFolder::open(scratch.path(), true).messages(),
              ElementsAre(HasSubstr("no lines of steps 3 to 4")));
}

TEST(TruncateJsonLines, StopsAtTheFirstLineThatDoesNotBelong) {
  ScratchFolder scratch;
  const fs::path file = scratch / "f";
  const auto cut = [&](const std::string& text, int64_t step) {
    write_text(file, text);
    const int64_t last = truncate_json_lines(file, step);
    return std::to_string(last) + ":" + read_text(file);
  };
  const std::string two = "{\"step\": 1}\n{\"step\": 2}\n";
  EXPECT_EQ(cut(two, 9), "2:" + two);
  EXPECT_EQ(cut(two, 1), "1:{\"step\": 1}\n");
  EXPECT_EQ(cut(two, -1), "-1:");
  EXPECT_EQ(cut(two + "{\"step\": 3}", 9), "2:" + two);  // no newline: torn
  EXPECT_EQ(cut(two + "{\"st\n{\"step\": 3}\n", 9), "2:" + two);
  EXPECT_EQ(cut(two + "{\"step\": 2.5}\n", 9), "2:" + two);
  EXPECT_EQ(cut(two + std::string(100, '\0'), 9), "2:" + two);
  EXPECT_EQ(cut("", 9), "-1:");
  EXPECT_EQ(truncate_json_lines(scratch / "none", 1), -1);
  EXPECT_FALSE(fs::exists(scratch / "none"));
}

}  // namespace
}  // namespace leash
