// The `run:` section, common to all tasks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"
#include "models/limits.h"
#include "rl/distributed/launch.h"
#include "rl/run/export_config.h"

namespace leash {

enum class ReportTo { tensorboard };
template <>
struct EnumNames<ReportTo> {
  static constexpr std::pair<ReportTo, std::string_view> values[] = {
      {ReportTo::tensorboard, "tensorboard"}};
};

enum class SaveStrategy { no, steps, epoch };
template <>
struct EnumNames<SaveStrategy> {
  static constexpr std::pair<SaveStrategy, std::string_view> values[] = {
      {SaveStrategy::no, "no"}, {SaveStrategy::steps, "steps"}, {SaveStrategy::epoch, "epoch"}};
};

// FSDP's strategies that exist here: nothing is sharded, or the frozen base is.
enum class Fsdp { no_shard, full_shard };
template <>
struct EnumNames<Fsdp> {
  static constexpr std::pair<Fsdp, std::string_view> values[] = {{Fsdp::no_shard, "no_shard"},
                                                                 {Fsdp::full_shard, "full_shard"}};
};

struct RunConfig {
  std::optional<std::filesystem::path> output_dir;
  int64_t seed = 42;
  int64_t logging_steps = 1;
  SaveStrategy save_strategy = SaveStrategy::steps;
  int64_t save_steps = 10;
  int64_t save_total_limit = 3;
  std::vector<ReportTo> report_to;
  int64_t samples_per_step = 8;
  std::vector<ExportKind> exports;
  int64_t grace_seconds = 25;
  int64_t threads = 0;
  CommunicationBackend ddp_backend = CommunicationBackend::gloo;
  int64_t ddp_timeout = 1800;
  int64_t ddp_meeting_timeout = kMeetingSeconds;
  Fsdp fsdp = Fsdp::no_shard;
  bool gather_for_generation = true;
};
template <class Config, class Visitor>
requires Describes<Config, RunConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("output_dir", c.output_dir,
        "the run's folder (default runs/<recipe>-<time>; --run-dir wins)");
  visit("seed", c.seed, "key of every random draw", within(0, kMostSeed));
  visit("logging_steps", c.logging_steps,
        "a console line every so many steps (metrics.jsonl has every step)", at_least(1));
  visit("save_strategy", c.save_strategy,
        "snapshots every save_steps steps, after every epoch (not in ppo), or only the last (no); "
        "an evaluation takes one in any case");
  visit("save_steps", c.save_steps, "a snapshot every so many steps (0: only the last)",
        at_least(0));
  visit("save_total_limit", c.save_total_limit, "snapshots kept, besides the best (0: all)",
        at_least(0));
  visit("samples_per_step", c.samples_per_step,
        "training answers of each iteration that are kept in samples.jsonl, the first ones of its "
        "batch (0: none; tasks that sample answers)",
        at_least(0));
  visit("report_to", c.report_to, "further places for metrics: tensorboard");
  visit(
      "export", c.exports,
      "what `leash export` writes of the trained adapter at the run's end, into export/: hf, gguf, "
      "gguf-adapter, peft");
  visit(
      "grace_seconds", c.grace_seconds,
      "how long a run may take to finish its step after SIGTERM (after SIGINT or SIGHUP as long as "
      "it takes; 0: each ends it at once)",
      at_least(0));
  visit("threads", c.threads,
        "threads of one operation (0: all cores, split between the processes of a machine)",
        within(0, kMostThreads));
  visit("ddp_backend", c.ddp_backend,
        "how several processes talk: gloo, or nccl (builds with CUDA and NCCL)");
  visit("ddp_timeout", c.ddp_timeout,
        "seconds that a process waits for the others before it gives up", at_least(1));
  visit("ddp_meeting_timeout", c.ddp_meeting_timeout,
        "seconds within which all processes have to have begun", at_least(1));
  visit("fsdp", c.fsdp,
        "full_shard: each process keeps its part of every frozen block and gathers a block just "
        "before its use; results are those of no_shard");
  visit(
      "gather_for_generation", c.gather_for_generation,
      "with fsdp: full_shard, a phase that samples answers holds the whole base, which it gathers "
      "once; false: it gathers block by block, for every token");
}

}  // namespace leash
