// What a run says while it works: metrics.jsonl and samples.jsonl in its folder, TensorBoard
// events if asked for, and the console.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/io/posix_file.h"
#include "rl/run/console.h"
#include "rl/run/tensorboard_writer.h"
#include "rl/statistics/metrics.h"

namespace leash {

// One answer, a line of samples.jsonl. The report puts the first and the last answer to the same
// held-out prompt (`index`, `decoding`) side by side.
struct SampleRecord {
  int64_t step = 0;                  // 0: before training
  int64_t index = 0;                 // of the prompt in data.eval, or of `split`'s file
  std::string decoding = "sampled";  // or "greedy"
  std::string split{};               // "train"; empty: held out
  std::string prompt{};
  std::string answer{};
  std::optional<double> score{};
  std::vector<std::pair<std::string, double>> scores{};  // of each source, before its weight
  std::optional<double> kl{};  // nats, of the whole answer; exact where it is held out
  std::optional<double> advantage{};
  std::string stop{};  // why it ended
};

struct RunLogOptions {
  int64_t total_steps = 0;    // for the time left
  int64_t first_step = 0;     // steps that were done before (resume)
  int64_t logging_steps = 1;  // a console line every so many steps
  bool tensorboard = false;
  bool writes = true;  // false: no files (of several processes only one writes)
  // What the console shows of the metrics, with short names.
  std::vector<ConsoleColumn> columns = {{"reward", "objective/scores"}, {"KL", "objective/kl"}};
};

class RunLog {
 public:
  // `folder` is the run's, opened (and cut to the snapshot) by RunFolder. `console` outlives it.
  RunLog(const std::filesystem::path& folder, const RunLogOptions& options, Console& console);
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // The line of a finished step (1, 2, …; 0 is before training) in metrics.jsonl: {"step": N, …} in
  // the given order, numbers so that reading gives the same double, NaN and infinities as null
  // (JSON has no word for them). On disk (not only in this process) when it returns. Metrics whose
  // names begin with `perf/` are clocks and memory: no comparison of runs may look at them.
  void step(int64_t step, const Metrics& metrics);
  void sample(const SampleRecord& sample);
  // fsync; call it right before SnapshotWriter::commit.
  void sync();

 private:
  RunLogOptions options_;
  Console& console_;
  std::optional<AppendFile> metrics_;
  std::optional<AppendFile> samples_;
  std::unique_ptr<TensorboardWriter> tensorboard_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The line that RunLog::step writes, without the newline.
std::string metrics_line(int64_t step, const Metrics& metrics);
std::string sample_line(const SampleRecord& sample);

// The files as read back; null is NaN, a last line without its newline (a run at work) is left
// out, and a file that does not exist is empty. FormatError names the line.
struct MetricsRow {
  int64_t step = 0;
  Metrics metrics;
};
std::vector<MetricsRow> read_metrics(const std::filesystem::path& file);
// One line of it; nullopt where it is none.
std::optional<MetricsRow> read_metrics_line(std::string_view line);
std::vector<SampleRecord> read_samples(const std::filesystem::path& file);

}  // namespace leash
