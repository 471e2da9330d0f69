// leash train: what a run leaves behind, and everything that must not go wrong silently.
#include <fmt/format.h>

#include <cmath>
#include <csignal>
#include <limits>
#include <set>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Train, LeavesARunBehindAndTouchesNothingElse) {
  const RunWorkspace work;
  const std::string weights = read_text(work.model() / "model.safetensors");
  const Ended ended = work.train("run", {"--set", "run.report_to=[tensorboard]"});
  expect_done(ended);
  EXPECT_THAT(ended.out, HasSubstr("adapter: " + (work / "run/adapter").string()));
  EXPECT_THAT(ended.err, HasSubstr("trainable params: "));
  EXPECT_THAT(ended.err, Not(HasSubstr("\r")));  // plain lines in a pipe
  EXPECT_TRUE(read_text(work.model() / "model.safetensors") == weights);
  for (const char* file :
       {"resolved.yaml", "samples.jsonl", "report.html", "adapter/adapter_config.json",
        "snapshots/step-2/MANIFEST.json", "snapshots/step-6/state.json"}) {
    EXPECT_TRUE(std::filesystem::exists(work / "run" / file)) << file;
  }
  const auto steps = json_lines(read_text(work / "run/metrics.jsonl"));
  ASSERT_EQ(steps.size(), 7u);
  for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i]["step"], i);
  EXPECT_NEAR(steps[1]["objective/kl"].get<double>(), 0.0, 1e-5);  // nothing was trained yet
  for (size_t i = 1; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i]["episode"], 8 * i);
    EXPECT_TRUE(std::isfinite(steps[i]["objective/kl"].get<double>()));
    EXPECT_LT(steps[i]["policy/logprob_gap_max"].get<double>(), 1e-4);
  }
  EXPECT_GT(std::abs(steps[6]["objective/kl"].get<double>()), 1e-3);  // and now it was

  // resolved.yaml reproduces the run, from another folder.
  std::filesystem::create_directories(work / "elsewhere");
  ProcessOptions there{.folder = work / "elsewhere"};
  expect_done(
      run_leash({"train", (work / "run/resolved.yaml").string(), "--run-dir", "again"}, there));
  std::filesystem::rename(work / "elsewhere/again", work / "again");
  work.expect_equal_runs("run", "again");

  // The trained adapter is one that other commands read.
  expect_done(work.run("generate", {"--prompt", "x", "--adapter", "run/adapter"}));
}

TEST(Train, AProfileAccountsForTheTime) {
  const RunWorkspace work;
  const Ended ended = work.train("run", {"--profile", "--set", "ppo.total_episodes=16"});
  expect_done(ended);
  EXPECT_THAT(ended.out, HasSubstr("in operators"));
  const Json profile = Json::parse(read_text(work / "run/profile.json"));
  double seconds = 0;
  std::set<std::string> names;
  for (const Json& phase : profile["phases"]) {
    seconds += phase["seconds"].get<double>();
    names.insert(phase["name"]);
    if (phase["name"] == "sampling") {
      EXPECT_EQ(phase["times"], 2);
      EXPECT_GT(phase["ops"]["leash::cached_attention"]["calls"].get<int>(), 0);
      EXPECT_GT(phase["seconds_in_ops"].get<double>(), 0.0);
    }
  }
  EXPECT_NEAR(seconds, profile["seconds"].get<double>(), 1e-6);
  for (const char* name : {"loading", "sampling", "scoring", "updating", "evaluating", "saving",
                           "logging", "reporting"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(Train, AUsedFolderNeedsResumeAndALockedOneWaitsForNobody) {
  const RunWorkspace work;
  Process first(leash_command(work.train_args("run")), {.environment = {{"OMP_NUM_THREADS", "1"}}});
  ASSERT_TRUE(first.wait_until([&] { return work.steps_written("run") >= 1; })) << first.wait().err;
  first.signal(SIGSTOP);  // so that it is at work whatever this machine does
  expect_error(work.train("run"), 2, "is in use by another run (pid ");
  expect_error(work.train("run", {"--resume"}), 2, "is in use by another run");
  first.signal(SIGKILL);
  EXPECT_EQ(first.wait().signal, SIGKILL);
  expect_error(work.train("run"), 2, "holds a run already: go on with it by --resume");
  expect_error(run_leash({"train", work.recipe().string(), "--resume"}), 2, "--resume needs");
  write_text(work / "file", "x");
  expect_error(work.train("file"), 2, "cannot create the run's folder");
}

TEST(Train, ResumeWithoutASnapshotStartsAfreshAndSaysSo) {
  const RunWorkspace work;
  const Ended ended = work.train("run", {"--resume", "--set", "ppo.total_episodes=8"});
  expect_done(ended);
  EXPECT_THAT(ended.err, HasSubstr((work / "run").string() +
                                   " is a new folder and has no snapshot: the run starts afresh"));
}

TEST(Train, BadDataIsNamedByLine) {
  const RunWorkspace work;
  const auto with_prompts = [&](const std::string& text) {
    write_text(work / "prompts.jsonl", text);
    std::filesystem::remove_all(work / "run");
    return work.train("run");
  };
  expect_error(with_prompts(""), 3, "prompts.jsonl");
  expect_error(with_prompts("\n\n"), 3, "prompts.jsonl");
  expect_error(with_prompts("{\"prompt\": \"a\"}\n{\"prompt\": \"\"}\nx\n{\"prompt\": 1}\n"), 3,
               "prompts.jsonl:2: ");
  const Ended longer =
      with_prompts("{\"prompt\": \"" + std::string(105, 'x') + "\"}\n{\"prompt\": \"fine\"}\n");
  expect_error(longer, 3, "prompts.jsonl:1: ");  // 105 tokens leave no room for 24 of 128
  std::filesystem::remove(work / "prompts.jsonl");
  expect_error(work.train("run"), 3, "prompts.jsonl");
}

TEST(Train, BadModelsAndAdaptersAreNamed) {
  const RunWorkspace work;
  expect_error(work.train("run", {"--set", "model.path=nowhere"}), 3, "nowhere");
  TinyOptions other = tiny_byte_options();
  other.num_layers = 3;
  other.hidden_size = 16;
  write_tiny_folder(work / "other", other);
  write_tiny_adapter(work / "foreign", work / "other");
  expect_error(work.train("run2", {"--set", "lora={path: " + (work / "foreign").string() + "}"}), 3,
               (work / "foreign").string());
  expect_error(work.train("run3", {"--set", "lora.target_modules=[no_such_proj]"}), 2,
               "no_such_proj");
  expect_error(work.train("run4", {"--set", "rollout.stop_token=ab"}), 2, "rollout.stop_token");
  const std::string weights = read_text(work.model() / "model.safetensors");
  write_text(work.model() / "model.safetensors", weights.substr(0, weights.size() - 5));
  expect_error(work.train("run5"), 3, "model.safetensors");
}

// A NaN in the base: the step is not applied, and the error says where to go on.
TEST(Train, ALossThatIsNotFiniteStopsWithTheLastGoodSnapshot) {
  const RunWorkspace work;
  const Lines no_eval = {"--set", "data={train: " + (work / "prompts.jsonl").string() + "}",
                         "--set", "ppo={total_episodes: 48, batch_size: 8, learning_rate: 1.0e-2}"};
  Lines two_steps = no_eval;
  two_steps.insert(two_steps.end(), {"--set", "ppo.total_episodes=16"});
  expect_done(work.train("run", two_steps));
  const std::string snapshot = read_text(work / "run/snapshots/step-2/adapter_model.safetensors");
  // One step so long that the next one's logits overflow.
  const Lines long_step = {"--resume", "--set",
                           "data={train: " + (work / "prompts.jsonl").string() + "}", "--set",
                           "ppo={total_episodes: 48, batch_size: 8, num_ppo_epochs: 1, "
                           "num_mini_batches: 1, learning_rate: 1.0e+30}"};
  const Ended ended = work.train("run", long_step);
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("logits are not finite"));
  EXPECT_THAT(ended.err,
              HasSubstr("the last good snapshot is " + (work / "run/snapshots/step-2").string()));
  EXPECT_EQ(work.steps_written("run"), 3);
  EXPECT_TRUE(read_text(work / "run/snapshots/step-2/adapter_model.safetensors") == snapshot);
  EXPECT_FALSE(std::filesystem::exists(work / "run/snapshots/step-4"));
  write_tiny_folder(work.model(), tiny_byte_options(), [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "model.layers.1.mlp.down_proj.weight") {
        tensor[0][0] = std::numeric_limits<double>::quiet_NaN();
      }
    }
  });
  // That is another base, which nothing waives.
  for (const Lines& more : {Lines{"--resume"}, {"--resume", "--allow-inexact"}}) {
    Lines resumed = no_eval;
    resumed.insert(resumed.end(), more.begin(), more.end());
    expect_error(work.train("run", resumed), 2, "the snapshot belongs to another model: base ");
  }
  const Ended fresh = work.train("fresh", no_eval);
  EXPECT_EQ(fresh.code, 1) << fresh.err;
  EXPECT_THAT(fresh.err, HasSubstr("there is no snapshot of this run yet"));
}

// The model is fine and only the loss is not.
TEST(Train, ALossThatOverflowsIsNotApplied) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.total_episodes=16"}));
  const Ended ended = work.train("run", {"--resume", "--set", "reward[0].weight=1.0e300"});
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_THAT(ended.err,
              HasSubstr("the last good snapshot is " + (work / "run/snapshots/step-2").string()));
  EXPECT_EQ(work.steps_written("run"), 3);
}

// A disk that is full (here: no file may grow over a limit) while a snapshot is written.
TEST(Train, AFullDiskKeepsOlderSnapshotsWhole) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.total_episodes=16"}));
  const auto size =
      std::filesystem::file_size(work / "run/snapshots/step-2/adapter_model.safetensors");
  ProcessOptions full{.environment = {{"OMP_NUM_THREADS", "1"}}, .max_file_bytes = size / 2};
  Process process(leash_command(work.train_args("run", {"--resume"})), full);
  const Ended ended = process.wait();
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("File too large"));
  EXPECT_THAT(ended.err, HasSubstr("go on with: leash train "));
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(work / "run/snapshots")) {
    names.insert(entry.path().filename());
  }
  EXPECT_EQ(names, (std::set<std::string>{"step-2"}));  // nothing half-written beside it
  // With room again the run goes on from the older one.
  const Ended resumed = work.train("run", {"--resume"});
  expect_done(resumed);
  EXPECT_EQ(work.steps_written("run"), 7);
}

// What metrics.jsonl of `folder` says of a step.
Json logged(const RunWorkspace& work, const std::string& folder, int64_t step) {
  for (const std::string& line : work.metrics(folder)) {
    const Json row = Json::parse(line);
    if (row["step"] == step) return row;
  }
  return {};
}

// The evaluated step with the highest held-out reward among those with a KL of at most `bound`.
int64_t best_logged(const RunWorkspace& work, const std::string& folder, double bound) {
  int64_t best = 0;
  double reward = -1e300;
  for (int64_t step = 1; step <= 6; ++step) {
    const Json row = logged(work, folder, step);
    const double here = row["eval/sampled/reward"];
    if (row["eval/sampled/kl"] > bound || here <= reward) continue;
    best = step;
    reward = here;
  }
  return best;
}

TEST(Train, TheBestSnapshotWithinTheKlBoundIsExported) {
  const RunWorkspace work;
  work.write_recipe("kl_coef: 0");
  const auto exported_is = [&](const std::string& folder, int64_t step) {
    const auto file = "snapshots/step-" + std::to_string(step) + "/adapter_model.safetensors";
    return read_text(work / folder / "adapter/adapter_model.safetensors") ==
           read_text(work / folder / file);
  };
  const Lines every = {"--set", "ppo.eval_steps=1", "--set", "ppo.target_kl=null"};
  expect_done(work.train("free", every));
  const int64_t best = best_logged(work, "free", 1e300);
  EXPECT_TRUE(exported_is("free", best)) << best;

  // A bound just below the best step's KL leaves the best of the others.
  const double kl = logged(work, "free", best)["eval/sampled/kl"];
  Lines bounded = every;
  bounded.insert(bounded.end(), {"--set", fmt::format("ppo.best_max_kl={:.17g}", kl * 0.999)});
  expect_done(work.train("bounded", bounded));
  const int64_t second = best_logged(work, "bounded", kl * 0.999);
  ASSERT_NE(second, best);
  ASSERT_NE(second, 0);
  EXPECT_TRUE(exported_is("bounded", second)) << second;
  EXPECT_NE(second, 6) << "choose another recipe: the last step has to lose";
  // A resumed run that will end with it looks at it first.
  const auto spoilt = work / "bounded/snapshots" / ("step-" + std::to_string(second));
  std::filesystem::remove(spoilt / "adapter_model.safetensors");
  Lines resumed = bounded;
  resumed.push_back("--resume");
  expect_error(work.train("bounded", resumed), 3,
               spoilt.string() + ": adapter_model.safetensors is missing");

  bounded.back() = "ppo.best_max_kl=1e-9";  // met by none
  const Ended none = work.train("none", bounded);
  expect_done(none);
  EXPECT_THAT(none.out, HasSubstr("the last: none was within ppo.best_max_kl"));
  EXPECT_TRUE(exported_is("none", 6));
}

TEST(Evaluate, FiguresAreThoseOfTheRunAtThatStep) {
  const RunWorkspace work;
  expect_done(work.train("run"));
  const auto evaluate = [&](Lines more) {
    more.insert(more.begin(), {"evaluate", work.recipe().string(), "--run-dir",
                               (work / "run").string(), "--json"});
    return run_leash(more);
  };
  for (const int64_t step : {0, 3, 6}) {
    const Ended ended = evaluate({"--snapshot", std::to_string(step)});
    expect_done(ended);
    const Json row = logged(work, "run", step);
    std::set<std::string> ways;
    for (const Json& line : json_lines(ended.out)) {
      const std::string way = line["decoding"];
      ways.insert(way);
      EXPECT_EQ(line["step"], step);
      EXPECT_EQ(line["reward"]["mean"], row["eval/" + way + "/reward"]);
      EXPECT_EQ(line["kl"]["mean"], row["eval/" + way + "/kl"]);
      EXPECT_LE(line["reward"]["ci95"][0], line["reward"]["mean"]);
      EXPECT_EQ(line["answers"].size(), 2u);
      EXPECT_EQ(line["answers"][0]["prompt"], "theta");
      if (step > 0) continue;
      EXPECT_NEAR(line["kl"]["mean"].get<double>(), 0.0, 1e-5);
      EXPECT_GT(line["reference_perplexity"].get<double>(), 1.0);
    }
    EXPECT_EQ(ways, (std::set<std::string>{"greedy", "sampled"}));
  }
  EXPECT_NE(logged(work, "run", 3)["eval/sampled/kl"], logged(work, "run", 6)["eval/sampled/kl"]);
  // Without --snapshot, what adapter/ holds.
  const int64_t best =
      Json::parse(read_text(work / "run/snapshots/step-6/state.json"))["best_step"];
  const Ended exported = evaluate({});
  expect_done(exported);
  EXPECT_EQ(exported.out, evaluate({"--snapshot", std::to_string(best)}).out);
  expect_error(evaluate({"--snapshot", "9"}), 3, "there is no snapshot of step 9 (there are: 2");
  expect_error(run_leash({"evaluate", work.recipe().string(), "--run-dir", (work / "no").string()}),
               3, "there is no such run");
}

}  // namespace
}  // namespace leash::testing
