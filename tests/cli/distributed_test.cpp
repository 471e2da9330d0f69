// leash train as several processes: the run of one, divided. float64 and Gloo; what stays different
// is the order in which sums are added up.
#include <cmath>
#include <csignal>
#include <set>

#include "models/io/safetensors.h"
#include "tests/cli/run_workspace.h"
#include "tests/support/ranks.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

class DistributedWorkspace : public RunWorkspace {
 public:
  DistributedWorkspace() {
    std::string samples;
    for (int i = 0; i < 21; ++i) {
      samples += Json{{"prompt", "say " + std::to_string(7 * i) + ":"},
                      {"completion", std::string(static_cast<size_t>(1 + 3 * (i % 5)), 'a')}}
                     .dump() +
                 "\n";
    }
    write_text(*this / "samples.jsonl", samples);
    write_text(
        *this / "sft.yaml",
        "task: sft\n"
        "model: {path: model, dtype: float64}\n"
        "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1}\n"
        "data: {train: samples.jsonl, eval: samples.jsonl}\n"
        "sft: {per_device_train_batch_size: 5, gradient_accumulation_steps: 1, max_steps: 6,\n"
        "      learning_rate: 5.0e-3, neftune_noise_alpha: 5.0, eval_strategy: steps,\n"
        "      eval_steps: 3, eval_answers: 2, micro_batch_tokens: 40, optim: adamw_torch}\n"
        "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }

  // Pairs for a reward model; with batches of three a fourth rank has none.
  void write_pairs() const {
    std::string pairs;
    for (int i = 0; i < 14; ++i) {
      pairs += Json{{"prompt", "tell " + std::to_string(i / 2) + ": "},
                    {"chosen", std::string(static_cast<size_t>(2 + i % 4), 'a')},
                    {"rejected", std::string(static_cast<size_t>(5 - i % 3), 'z')}}
                   .dump() +
               "\n";
    }
    write_text(*this / "pairs.jsonl", pairs);
    write_text(*this / "reward.yaml",
               "task: reward\n"
               "model: {path: model, dtype: float64}\n"
               "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1}\n"
               "data: {train: pairs.jsonl, eval: pairs.jsonl}\n"
               "reward: {per_device_train_batch_size: 3, max_steps: 6, learning_rate: 5.0e-3,\n"
               "         eval_strategy: steps, eval_steps: 3, micro_batch_tokens: 40,\n"
               "         disable_dropout: false}\n"
               "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }

  // Texts of classes; likewise.
  void write_texts() const {
    std::string texts;
    for (int i = 0; i < 13; ++i) {
      texts += Json{{"text", std::string(static_cast<size_t>(1 + 5 * (i % 4)), 'a') + "!"},
                    {"label", i % 3}}
                   .dump() +
               "\n";
    }
    write_text(*this / "texts.jsonl", texts);
    write_text(
        *this / "classes.yaml",
        "task: classification\n"
        "model: {path: model, dtype: float64}\n"
        "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1,\n"
        "       trainable: [model.norm]}\n"
        "data: {train: texts.jsonl, eval: texts.jsonl}\n"
        "classification: {per_device_train_batch_size: 3, max_steps: 6, learning_rate: 5.0e-3,\n"
        "         eval_strategy: steps, eval_steps: 3, micro_batch_tokens: 20}\n"
        "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }

  Lines ppo_args(const std::string& folder, const Lines& more = {}) const {
    Lines args = train_args(folder, {"--dtype", "float64"});
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  Lines sft_args(const std::string& folder, const Lines& more = {}) const {
    return args_of("sft.yaml", folder, more);
  }
  Lines args_of(const std::string& recipe, const std::string& folder,
                const Lines& more = {}) const {
    Lines args = {"train", (*this / recipe).string(), "--run-dir", (*this / folder).string()};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  // Numbers of two runs within 1e-6 of each other, step by step, and adapters within a relative
  // Frobenius norm of 1e-4.
  void expect_near_runs(const std::string& a, const std::string& b) const {
    const Lines left = metrics(a), right = metrics(b);
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) {
      const auto x = Json::parse(left[i]), y = Json::parse(right[i]);
      ASSERT_EQ(keys_of(x), keys_of(y));
      for (const auto& [key, value] : x.items()) {
        const double number = value, other = y[key];
        EXPECT_NEAR(number, other, 1e-6 * std::max(1.0, std::abs(number)))
            << key << " of line " << i;
      }
    }
    EXPECT_LT(relative_distance(*this / a / "adapter/adapter_model.safetensors",
                                *this / b / "adapter/adapter_model.safetensors"),
              1e-4);
  }

 private:
  static double relative_distance(const std::filesystem::path& a, const std::filesystem::path& b) {
    const NamedTensors left = read_safetensors(a), right = read_safetensors(b);
    EXPECT_EQ(left.size(), right.size());
    double difference = 0, norm = 0;
    for (size_t i = 0; i < left.size(); ++i) {
      EXPECT_EQ(left[i].first, right[i].first);
      difference += left[i].second.sub(right[i].second).square().sum().item<double>();
      norm += left[i].second.square().sum().item<double>();
    }
    EXPECT_GT(norm, 0.0);
    return std::sqrt(difference / norm);
  }
};

// Runs all ranks to their end. Rank 0 talks; the others are silent.
void expect_ranks_done(const Lines& args, int64_t size) {
  Ranks ranks(leash_command(args), size, {.timeout_seconds = 300});
  const auto ended = ranks.wait();
  for (int64_t rank = 0; rank < size; ++rank) {
    expect_done(ended[rank]);
    if (rank == 0) {
      EXPECT_THAT(ended[rank].out, HasSubstr("report: "));
    } else {
      EXPECT_EQ(ended[rank].out + ended[rank].err, "");
    }
  }
}

// Minibatches of three answers: a fourth rank has none.
TEST(Distributed, PpoOnTwoAndFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  const Lines more = {"--set", "ppo.batch_size=6", "--set", "ppo.total_episodes=36"};
  expect_done(run_leash(work.ppo_args("one", more)));
  for (const int64_t size : {2, 4}) {
    const std::string folder = std::to_string(size);
    expect_ranks_done(work.ppo_args(folder, more), size);
    work.expect_near_runs("one", folder);
  }
  // Nothing is written twice, or left out.
  const auto files = [&](const std::string& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(work / folder)) {
      names.insert(std::filesystem::relative(entry.path(), work / folder));
    }
    return names;
  };
  EXPECT_EQ(files("4"), files("one"));
}

TEST(Distributed, ACriticOfItsOwnToo) {
  const DistributedWorkspace work;
  const Lines more = {"--set", "critic={kind: separate, train: lora}",
                      "--set", "ppo.total_episodes=16",
                      "--set", "ppo.missing_eos_penalty=1.0"};
  expect_done(run_leash(work.ppo_args("one", more)));
  expect_ranks_done(work.ppo_args("two", more), 2);
  work.expect_near_runs("one", "two");
}

// Batches of five samples on four ranks; the last batch of an epoch has one sample.
TEST(Distributed, SftOnTwoAndFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  expect_done(run_leash(work.sft_args("one")));
  for (const int64_t size : {2, 4}) {
    const std::string folder = std::to_string(size);
    expect_ranks_done(work.sft_args(folder), size);
    work.expect_near_runs("one", folder);
  }
}

TEST(Distributed, RewardTrainingOnTwoAndFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  work.write_pairs();
  expect_done(run_leash(work.args_of("reward.yaml", "one")));
  for (const int64_t size : {2, 4}) {
    const std::string folder = std::to_string(size);
    expect_ranks_done(work.args_of("reward.yaml", folder), size);
    work.expect_near_runs("one", folder);
  }
}

TEST(Distributed, ClassificationOnTwoAndFourRanksIsThatOfOne) {
  const DistributedWorkspace work;
  work.write_texts();
  expect_done(run_leash(work.args_of("classes.yaml", "one")));
  for (const int64_t size : {2, 4}) {
    const std::string folder = std::to_string(size);
    expect_ranks_done(work.args_of("classes.yaml", folder), size);
    work.expect_near_runs("one", folder);
    EXPECT_EQ(Json::parse(read_text(work / folder / "evaluations/step-6.json"))["texts"].size(),
              13u);
  }
}

// A signal to one rank stops all after the same step; one process goes on.
TEST(Distributed, SigtermToOneRankStopsAllAndOneProcessGoesOn) {
  const DistributedWorkspace work;
  expect_done(run_leash(work.ppo_args("one")));
  Ranks ranks(leash_command(work.ppo_args("run")), 2, {.timeout_seconds = 300});
  ASSERT_TRUE(ranks[0].wait_until([&] { return work.steps_written("run") >= 3; }));
  ranks[1].signal(SIGTERM);
  const auto ended = ranks.wait();
  for (const Ended& each : ended) EXPECT_EQ(each.code, 130) << each.err;
  EXPECT_THAT(ended[0].err, HasSubstr("interrupted after step "));
  const int64_t done = work.steps_written("run") - 1;
  EXPECT_LT(done, 6);
  EXPECT_TRUE(std::filesystem::exists(work / "run/snapshots" / ("step-" + std::to_string(done))));
  expect_done(run_leash(work.ppo_args("run", {"--resume"})));
  work.expect_near_runs("one", "run");
}

// The others name it and end; the run goes on from its last snapshot, on one process and on two.
TEST(Distributed, AKilledRankEndsTheRunAndTheSnapshotGoesOn) {
  const DistributedWorkspace work;
  expect_done(run_leash(work.ppo_args("one")));
  Ranks ranks(leash_command(work.ppo_args("run")), 2, {.timeout_seconds = 300});
  ASSERT_TRUE(ranks[0].wait_until([&] { return work.steps_written("run") >= 4; }));
  ranks[1].signal(SIGKILL);
  EXPECT_EQ(ranks[1].wait().signal, SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  const Ended leader = ranks[0].wait();
  EXPECT_LT(std::chrono::steady_clock::now() - killed, std::chrono::seconds(20));
  EXPECT_EQ(leader.code, 1) << leader.err;
  EXPECT_THAT(leader.err, HasSubstr("rank 0 of 2: rank 1 ended or hangs: no sign of life"));
  EXPECT_THAT(leader.err, HasSubstr("the run failed; the last snapshot is "));
  std::filesystem::copy(work / "run", work / "copy", std::filesystem::copy_options::recursive);
  expect_done(run_leash(work.ppo_args("run", {"--resume"})));
  work.expect_near_runs("one", "run");
  expect_ranks_done(work.ppo_args("copy", {"--resume"}), 2);
  work.expect_near_runs("one", "copy");
}

// What only one rank finds out, all say.
TEST(Distributed, AnErrorOfOneRankEndsAll) {
  const DistributedWorkspace work;
  ASSERT_EQ(run_leash(work.ppo_args("used", {"--set", "ppo.total_episodes=8"})).code, 0);
  Ranks ranks(leash_command(work.ppo_args("used")), 2, {.timeout_seconds = 120});
  const auto ended = ranks.wait();
  expect_error(ended[0], 2, "holds a run already");
  expect_error(ended[1], 1, "rank 1 of 2: rank 0 failed: " + (work / "used").string());
}

TEST(Distributed, RanksWithDifferentRecipesAreRefused) {
  const DistributedWorkspace work;
  const int64_t port = free_port();
  const auto start = [&](int64_t rank, const Lines& more) {
    return Process(leash_command(work.ppo_args("run", more)),
                   {.environment = rank_environment(rank, 2, port)});
  };
  Process first = start(0, {}), second = start(1, {"--set", "ppo.batch_size=16"});
  expect_error(second.wait(), 2, "ppo.batch_size: 8 -> 16");
  expect_error(first.wait(), 1, "rank 1 failed: rank 1 has another recipe than rank 0");
}

TEST(Distributed, ALauncherThatSaysHalfIsAnError) {
  const DistributedWorkspace work;
  ProcessOptions options{.environment = {{"RANK", "0"}, {"WORLD_SIZE", "2"}}};
  expect_error(run_leash(work.ppo_args("run"), options), 2, "MASTER_ADDR is not set");
}

}  // namespace
}  // namespace leash::testing
