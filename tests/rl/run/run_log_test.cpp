// metrics.jsonl, samples.jsonl and the console.
#include "rl/run/run_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <limits>

#include "models/errors.h"
#include "models/random/random.h"
#include "rl/run/memory_usage.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using testing::read_text;
using testing::ScratchFolder;
using testing::write_text;

const double kInf = std::numeric_limits<double>::infinity();

// What a console prints into a pipe.
class ConsolePipe {
 public:
  ConsolePipe() { EXPECT_EQ(::pipe(ends_), 0); }
  ~ConsolePipe() { ::close(ends_[0]); }
  int writing_end() const { return ends_[1]; }
  std::string read_all() {
    ::close(ends_[1]);
    std::string all;
    char buffer[4096];
    for (ssize_t n; (n = ::read(ends_[0], buffer, sizeof(buffer))) > 0;) {
      all.append(buffer, static_cast<size_t>(n));
    }
    return all;
  }

 private:
  int ends_[2];
};

TEST(MetricsLine, OrderedAndShortest) {
  EXPECT_EQ(metrics_line(3, {{"objective/kl", 0.1}, {"b", 2}, {"a", -1e-05}}),
            R"({"step": 3, "objective/kl": 0.1, "b": 2, "a": -1e-05})");
  EXPECT_EQ(metrics_line(0, {}), R"({"step": 0})");
  EXPECT_EQ(metrics_line(1, {{"x", std::nan("")}, {"y", kInf}, {"z", -kInf}}),
            R"({"step": 1, "x": null, "y": null, "z": null})");
  EXPECT_EQ(metrics_line(1, {{"a\"\n", 0}}), R"({"step": 1, "a\"\n": 0})");
}

TEST(MetricsLine, EveryDoubleReadsBackTheSame) {
  ScratchFolder folder;
  Metrics metrics = {{"min", std::numeric_limits<double>::denorm_min()},
                     {"max", std::numeric_limits<double>::max()},
                     {"zero", -0.0},
                     {"third", 1.0 / 3}};
  for (uint64_t i = 0; metrics.size() < 2000; ++i) {
    const uint64_t high = draw_bits({.seed = 1}, 2 * i), low = draw_bits({.seed = 1}, 2 * i + 1);
    const double value = std::bit_cast<double>(high << 32 | low);
    if (std::isfinite(value)) metrics.emplace_back("m" + std::to_string(i), value);
  }
  write_text(folder / "m", metrics_line(1, metrics) + "\n");
  const std::vector<MetricsRow> rows = read_metrics(folder / "m");
  ASSERT_EQ(rows.size(), 1u);
  ASSERT_EQ(rows[0].metrics.size(), metrics.size());
  for (size_t i = 0; i < metrics.size(); ++i) {
    EXPECT_EQ(rows[0].metrics[i].first, metrics[i].first);
    EXPECT_EQ(std::bit_cast<uint64_t>(rows[0].metrics[i].second),
              std::bit_cast<uint64_t>(metrics[i].second));
  }
}

TEST(RunLog, LinesAreInTheFileAtOnceAndAppended) {
  ScratchFolder folder;
  Console silent(-1, false);
  {
    RunLog log(folder.path(), {}, silent);
    log.step(1, {{"a", 0.5}});
    EXPECT_EQ(read_text(folder / "metrics.jsonl"), "{\"step\": 1, \"a\": 0.5}\n");
    log.sync();
  }
  RunLog log(folder.path(), {}, silent);
  log.step(2, {{"a", std::nan("")}});
  EXPECT_EQ(read_text(folder / "metrics.jsonl"),
            "{\"step\": 1, \"a\": 0.5}\n{\"step\": 2, \"a\": null}\n");
  EXPECT_TRUE(std::isnan(read_metrics(folder / "metrics.jsonl")[1].metrics[0].second));
}

TEST(RunLog, SamplesReadBack) {
  ScratchFolder folder;
  Console silent(-1, false);
  RunLog log(folder.path(), {}, silent);
  log.sample({.step = 0,
              .index = 4,
              .prompt = "two\nlines",
              .answer = "\"<b>\" \u00e9 \xFF",
              .score = 1.25,
              .stop = "eos"});
  log.sample({.step = 7, .index = 4, .decoding = "greedy", .kl = 0.5});
  const std::vector<SampleRecord> samples = read_samples(folder / "samples.jsonl");
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].index, 4);
  EXPECT_EQ(samples[0].decoding, "sampled");
  EXPECT_EQ(samples[0].prompt, "two\nlines");
  EXPECT_EQ(samples[0].answer, "\"<b>\" \u00e9 \uFFFD");
  EXPECT_EQ(samples[0].score, 1.25);
  EXPECT_EQ(samples[0].kl, std::nullopt);
  EXPECT_EQ(samples[0].stop, "eos");
  EXPECT_EQ(samples[1].step, 7);
  EXPECT_EQ(samples[1].decoding, "greedy");
  EXPECT_EQ(samples[1].kl, 0.5);
}

TEST(RunLog, TrainingAnswersHaveLinesOfTheirOwn) {
  ScratchFolder folder;
  Console silent(-1, false);
  RunLog log(folder.path(), {}, silent);
  log.sample({.step = 3,
              .index = 1,
              .split = "train",
              .prompt = "p",
              .answer = "a",
              .score = 0.5,
              .scores = {{"right", 1}, {"short", -1}},
              .advantage = 0.25,
              .stop = "eos"});
  EXPECT_EQ(read_text(folder / "samples.jsonl"),
            "{\"step\":3,\"split\":\"train\",\"index\":1,\"prompt\":\"p\",\"answer\":\"a\","
            "\"score\":0.5,\"scores\":{\"right\":1.0,\"short\":-1.0},\"kl\":null,"
            "\"advantage\":0.25,\"stop\":\"eos\"}\n");
  const SampleRecord back = read_samples(folder / "samples.jsonl").at(0);
  EXPECT_EQ(back.split, "train");
  EXPECT_EQ(back.scores.at(1).first, "short");
  EXPECT_EQ(back.scores.at(1).second, -1);
  EXPECT_EQ(back.advantage, 0.25);
}

TEST(ReadMetrics, DamageNamesTheLine) {
  ScratchFolder folder;
  EXPECT_TRUE(read_metrics(folder / "none").empty());
  const auto problem = [&](const std::string& text) -> std::string {
    write_text(folder / "m", text);
    try {
      read_metrics(folder / "m");
    } catch (const FormatError& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_EQ(problem("{\"step\": 1}\n{\"step\": 2"), "none");  // a run at work
  EXPECT_THAT(problem("{\"step\": 1}\nnonsense\n"), HasSubstr("m:2: "));
  EXPECT_THAT(problem("{\"steps\": 1}\n"), HasSubstr("m:1: "));
  EXPECT_THAT(problem("{\"step\": 1, \"a\": \"x\"}\n"), HasSubstr("m:1: "));
}

TEST(ProgressText, ShowsWhatIsThere) {
  const std::vector<ConsoleColumn> columns = {{"reward", "objective/scores"},
                                              {"KL", "objective/kl"}};
  EXPECT_EQ(
      progress_text(12, 40, {{"objective/kl", 0.3125}, {"objective/scores", 1.25}}, columns, 185),
      "step 12/40  reward 1.25  KL 0.3125  3 min 5 s left");
  EXPECT_EQ(progress_text(1, 0, {{"objective/kl", std::nan("")}}, columns, std::nullopt),
            "step 1  KL nan");
}

TEST(DurationText, Units) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1 min 0 s");
  EXPECT_EQ(duration_text(7800), "2 h 10 min");
  EXPECT_EQ(duration_text(kInf), "?");
}

TEST(Console, PlainLinesInAPipe) {
  ScratchFolder folder;
  ConsolePipe pipe;
  {
    Console console(pipe.writing_end(), false);
    RunLog log(folder.path(), {.total_steps = 5, .first_step = 5, .logging_steps = 2}, console);
    console.message("hello");
    console.phase("sampling");
    for (int64_t step = 1; step <= 5; ++step) {
      log.step(step, {{"objective/scores", static_cast<double>(step)}});
    }
  }
  EXPECT_EQ(pipe.read_all(), "hello\nstep 2/5  reward 2\nstep 4/5  reward 4\nstep 5/5  reward 5\n");
}

TEST(Console, OneLineOnATerminal) {
  ConsolePipe pipe;
  {
    Console console(pipe.writing_end(), true);
    console.progress("step 1/2", false);
    console.phase("sampling");
    console.message("note");
    console.progress("step 2/2", false);
  }
  EXPECT_EQ(pipe.read_all(),
            "\rstep 1/2\x1b[K\rstep 1/2  sampling\x1b[K\r\x1b[Knote\n\rstep 1/2  sampling\x1b[K"
            "\rstep 2/2\x1b[K\n");
}

TEST(Console, ALongLineIsCutBetweenLetters) {
  ConsolePipe pipe;
  {
    Console console(pipe.writing_end(), true);
    console.progress(std::string(78, 'x') + "\u00e9\u00e9\u00e9", false);  // 79 bytes end within é
  }
  EXPECT_EQ(pipe.read_all(), "\r" + std::string(78, 'x') + "\x1b[K\n");
}

TEST(MemoryUsage, CountsWhatWasTouched) {
  const MemoryUsage before = memory_usage();
  EXPECT_GT(before.resident, 1 << 20);
  EXPECT_GE(before.peak, before.resident);
  {
    std::vector<char> block(256 << 20, 1);
    EXPECT_GT(memory_usage().resident, before.resident + (200 << 20)) << block.back();
  }
  EXPECT_GE(peak_memory_bytes(), before.resident + (200 << 20));
}

}  // namespace
}  // namespace leash
