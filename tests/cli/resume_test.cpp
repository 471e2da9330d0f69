// A run that was interrupted ends exactly as one that was not.
#include <csignal>

#include "models/io/snapshot.h"
#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

const ProcessOptions kOneThread{.environment = {{"OMP_NUM_THREADS", "1"}}};

// Starts a run and sends `signal` as soon as `step` stands in metrics.jsonl: the next step has
// begun. Again when this machine was so slow that the run ended before.
Ended interrupted(const RunWorkspace& work, const std::string& folder, int64_t step, int signal,
                  const Lines& more = {}) {
  for (int attempt = 0; attempt < 4; ++attempt) {
    std::filesystem::remove_all(work / folder);
    Process process(leash_command(work.train_args(folder, more)), kOneThread);
    const bool seen =
        process.wait_until([&] { return work.steps_written(folder) >= step + 1; });  // with step 0
    process.signal(signal);
    const Ended ended = process.wait();
    if (seen && (ended.code == 130 || ended.signal == signal)) return ended;
    if (ended.code > 0) {
      ADD_FAILURE() << ended.err;
      return ended;
    }
  }
  ADD_FAILURE() << "the run was always over before the signal reached it";
  return {};
}

// So many that none of a test's signals comes too late.
void write_recipe_of_many_steps(const RunWorkspace& work) {
  std::string text = read_text(work.recipe());
  text.replace(text.find("total_episodes: 48"), 18, "total_episodes: 8000");
  write_text(work.recipe(), text);
}

TEST(Resume, AfterSigtermTheRunEndsAsIfNothingHadHappened) {
  const RunWorkspace work;
  expect_done(work.train("whole"));
  EXPECT_EQ(work.steps_written("whole"), 7);

  const Ended terminated = interrupted(work, "terminated", 2, SIGTERM);
  EXPECT_EQ(terminated.code, 130);
  EXPECT_EQ(terminated.out, "");
  EXPECT_THAT(terminated.err, HasSubstr("finishing this step, then a snapshot"));
  EXPECT_THAT(terminated.err, HasSubstr("interrupted after step "));
  EXPECT_THAT(terminated.err,
              HasSubstr("--run-dir " + (work / "terminated").string() + " --resume"));
  const int64_t done = work.steps_written("terminated") - 1;
  EXPECT_TRUE(
      std::filesystem::exists(work / "terminated/snapshots" / ("step-" + std::to_string(done))));
  expect_done(work.train("terminated", {"--resume"}));
  work.expect_equal_runs("whole", "terminated");
}

// The next batch's answers were on their way when the run was interrupted: they come again, from
// the policy that was sampling them.
TEST(Resume, SamplingBesideTrainingGoesOnFromTheSamplersPolicy) {
  const RunWorkspace work;
  // As it is, the clip is around the sampler's policy.
  write_text(work.recipe(), read_text(work.recipe()) + "async: {max_staleness: 1}\n");
  expect_done(work.train("plain"));
  const auto plain = json_lines(read_text(work / "plain/metrics.jsonl"));
  EXPECT_LT(plain.at(1)["policy/logprob_gap_max"].get<double>(), 1e-4);
  EXPECT_GT(plain.at(3)["policy/logprob_gap_max"].get<double>(), 1e-3) << "an update lies between";
  expect_done(work.train("plain-again"));
  work.expect_equal_runs("plain", "plain-again");
  work.write_recipe(
      "importance_sampling_correction: true, importance_sampling_mode: token_truncate");
  write_text(work.recipe(), read_text(work.recipe()) + "async: {max_staleness: 1}\n");
  expect_done(work.train("whole"));
  const auto rows = json_lines(read_text(work / "whole/metrics.jsonl"));
  const auto most = [&](size_t step) {
    return rows.at(step)["sampling/importance_sampling_ratio/max"].get<double>();
  };
  EXPECT_NEAR(most(1), 1, 1e-4) << "sampled by the policy that trains";
  EXPECT_GT(most(3), 1.001) << "sampled by the one before";
  EXPECT_TRUE(std::filesystem::exists(work / "whole/snapshots/step-4/sampler.safetensors"));
  const Ended terminated = interrupted(work, "terminated", 2, SIGTERM);
  EXPECT_EQ(terminated.code, 130);
  expect_done(work.train("terminated", {"--resume"}));
  work.expect_equal_runs("whole", "terminated");
  expect_done(work.train("again"));
  work.expect_equal_runs("whole", "again");
}

// As `timeout` does it, and as a terminal that is closed does it.
TEST(Resume, TwoSignalsAtOnceAndAHangupCostNoSnapshot) {
  const RunWorkspace work;
  write_recipe_of_many_steps(work);
  for (const std::vector<int>& signals :
       {std::vector<int>{SIGTERM, SIGTERM}, {SIGINT, SIGTERM}, {SIGHUP}}) {
    std::filesystem::remove_all(work / "run");
    Process process(leash_command(work.train_args("run")), kOneThread);
    ASSERT_TRUE(process.wait_until([&] { return work.steps_written("run") >= 2; }));
    for (const int signal : signals) process.signal(signal);
    const Ended ended = process.wait();
    EXPECT_EQ(ended.code, 130) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("interrupted after step "));
    const std::string last = "step-" + std::to_string(work.steps_written("run") - 1);
    EXPECT_TRUE(std::filesystem::exists(work / "run/snapshots" / last)) << last;
  }
}

TEST(Resume, UnderNohupTheTerminalMayGo) {
  const RunWorkspace work;
  Lines command = leash_command(work.train_args("run"));
  command.insert(command.begin(), "/usr/bin/nohup");
  Process process(command, kOneThread);
  ASSERT_TRUE(process.wait_until([&] { return work.steps_written("run") >= 2; }));
  process.signal(SIGHUP);
  EXPECT_EQ(process.wait().code, 0);
  EXPECT_EQ(work.steps_written("run"), 7);
}

// A reward program that, at its N-th call (N in the file `hold`), touches `reached` and waits until
// `hold` is gone. Scores are the lengths of the lines that it reads.
void write_reward_that_holds(const RunWorkspace& work) {
  write_text(work / "reward.sh",
             "cd \"$(dirname \"$0\")\"\n"
             "echo >>calls\n"
             "if [ -e hold ] && [ \"$(wc -l <calls)\" -eq \"$(cat hold)\" ]; then\n"
             "  echo >reached\n"
             "  while [ -e hold ]; do sleep 0.02; done\n"
             "fi\n"
             "while read -r line; do echo $((${#line} % 7)); done\n");
}

// Killed while the answers of step 3 wait for their scores: sampled, but not learnt from.
TEST(Resume, AfterSigkillInTheMiddleOfAStep) {
  const RunWorkspace work;
  write_reward_that_holds(work);
  const Lines reward = {
      "--set", "reward=[{kind: command, command: sh " + (work / "reward.sh").string() + "}]"};
  expect_done(work.train("whole", reward));

  std::filesystem::remove(work / "calls");
  write_text(work / "hold", "5");  // greedy and sampled before training, steps 1, 2 and 3
  Process process(leash_command(work.train_args("killed", reward)), kOneThread);
  EXPECT_TRUE(process.wait_until([&] { return std::filesystem::exists(work / "reached"); }));
  process.signal(SIGKILL);
  EXPECT_EQ(process.wait().signal, SIGKILL);
  std::filesystem::remove(work / "hold");
  EXPECT_EQ(work.steps_written("killed"), 3);
  EXPECT_TRUE(std::filesystem::exists(work / "killed/snapshots/step-2"));
  Lines resume = reward;
  resume.push_back("--resume");
  expect_done(work.train("killed", resume));
  work.expect_equal_runs("whole", "killed");
}

// Reference, critic and reward model as models of their own, and a critic with LoRA beside a
// reference adapter.
TEST(Resume, WithEveryOtherRole) {
  const RunWorkspace work;
  TinyOptions second = tiny_byte_options(), judge = second;
  second.seed = 8;
  judge.seed = 9;
  judge.num_labels = 1;
  write_tiny_folder(work / "second", second);
  write_tiny_folder(work / "judge", judge);
  write_tiny_adapter(work / "held_to", work / "model", /*seed=*/4, /*scale=*/0.1);
  const auto path = [&](const char* name) { return "path: " + (work / name).string(); };
  for (const Lines& roles : {Lines{"reference={kind: model, " + path("second") + "}",
                                   "critic={kind: separate, train: head, " + path("second") + "}",
                                   "reward=[{kind: model, " + path("judge") + "}]"},
                             Lines{"reference={kind: adapter, " + path("held_to") + "}",
                                   "critic={kind: separate, train: lora, learning_rate: 1.0e-2, " +
                                       path("second") + "}"}}) {
    Lines args;
    for (const std::string& role : roles) args.insert(args.end(), {"--set", role});
    for (const char* folder : {"whole", "run"}) std::filesystem::remove_all(work / folder);
    expect_done(work.train("whole", args));
    EXPECT_GT(Json::parse(work.metrics("whole").at(0)).at("eval/greedy/kl").get<double>(), 0.1)
        << "the reference is another than the start";
    interrupted(work, "run", 3, SIGKILL, args);
    args.push_back("--resume");
    expect_done(work.train("run", args));
    work.expect_equal_runs("whole", "run");
  }
}

TEST(Resume, AfterSigintAndThenSigkillOfTheResumedRun) {
  const RunWorkspace work;
  expect_done(work.train("whole"));
  interrupted(work, "run", 1, SIGINT);
  Process second(leash_command(work.train_args("run", {"--resume"})), kOneThread);
  const int64_t before = work.steps_written("run");
  second.wait_until([&] { return work.steps_written("run") > before; });
  second.signal(SIGKILL);
  second.wait();
  expect_done(work.train("run", {"--resume"}));
  work.expect_equal_runs("whole", "run");
}

// In float64 too: nothing of a snapshot passes through a narrower type.
TEST(Resume, InFloat64) {
  const RunWorkspace work;
  const Lines wide = {"--set", "model.dtype=float64"};
  expect_done(work.train("whole", wide));
  interrupted(work, "run", 3, SIGKILL, wide);
  expect_done(work.train("run", {"--set", "model.dtype=float64", "--resume"}));
  work.expect_equal_runs("whole", "run");
}

// What was asked for on the way is what happens: a price of KL that nothing adapts, held-out
// prompts that the run did not begin with.
TEST(Resume, ChangedSettingsCount) {
  const RunWorkspace work;
  const auto ppo = [](const std::string& more) {
    return "ppo={batch_size: 8, num_mini_batches: 2, learning_rate: 1.0e-2, " + more + "}";
  };
  expect_done(work.train("run", {"--set", ppo("total_episodes: 16"), "--set",
                                 "data={train: " + (work / "prompts.jsonl").string() + "}"}));
  expect_done(work.train("run", {"--set", ppo("total_episodes: 32, kl_coef: 0.5"), "--resume"}));
  const Lines metrics = work.metrics("run");
  EXPECT_EQ(Json::parse(metrics.at(metrics.size() - 3)).at("objective/kl_coef"), 0.05);
  EXPECT_EQ(Json::parse(metrics.back()).at("objective/kl_coef"), 0.5);
  EXPECT_TRUE(Json::parse(metrics.back()).contains("eval/greedy/reward"));
}

// What is left is counted in episodes, not in steps of another size.
TEST(Resume, AnotherBatchSizeKeepsTheEpisodes) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.total_episodes=16"}));
  expect_done(work.train("run", {"--set", "ppo.batch_size=16", "--resume"}));
  const Lines metrics = work.metrics("run");
  ASSERT_EQ(metrics.size(), 5u) << "two steps of 8, two of 16, and the evaluation at the start";
  EXPECT_EQ(Json::parse(metrics.back()).at("episode"), 48);
}

// Lanes that work at the same time change nothing.
TEST(Resume, ConcurrentLanesAreBitIdenticalToOneWorker) {
  const RunWorkspace work;
  const Lines one_worker = {"--set", "lanes.concurrent=false"};
  const Lines critic = {"--set", "critic.kind=adapter"};
  Lines both = one_worker;
  both.insert(both.end(), critic.begin(), critic.end());
  expect_done(work.train("concurrent", critic));
  interrupted(work, "single", 3, SIGKILL, both);
  Lines resume = both;
  resume.push_back("--resume");
  expect_done(work.train("single", resume));
  const Lines left = work.metrics("concurrent"), right = work.metrics("single");
  EXPECT_EQ(left, right);
  for (const char* file :
       {"adapter/adapter_model.safetensors", "snapshots/step-6/critic.safetensors"}) {
    EXPECT_TRUE(read_text(work / "concurrent" / file) == read_text(work / "single" / file)) << file;
  }
}

// Groups of answers are judged while others are sampled, or behind them: the same groups.
TEST(Resume, ScoringGroupsAreBitIdenticalOnOneWorkerAndOnMany) {
  const RunWorkspace work;
  const Lines groups = {"--set", "lanes.scoring_group=3", "--set", "critic.kind=adapter",
                        "--set", "lanes.timeline=true"};
  Lines one_worker = groups;
  one_worker.insert(one_worker.end(), {"--set", "lanes.concurrent=false"});
  expect_done(work.train("concurrent", groups));
  expect_done(work.train("single", one_worker));
  EXPECT_EQ(work.metrics("concurrent"), work.metrics("single"));
  for (const char* file :
       {"adapter/adapter_model.safetensors", "snapshots/step-6/critic.safetensors"}) {
    EXPECT_TRUE(read_text(work / "concurrent" / file) == read_text(work / "single" / file)) << file;
  }
  // Eight answers a step: groups of 3, 3 and 2.
  size_t scored = 0;
  const std::string timeline = read_text(work / "single/timeline.json");
  for (size_t at = 0; (at = timeline.find("\"scores\"", at)) != std::string::npos; ++at) ++scored;
  EXPECT_EQ(scored, 6u * 3);
}

// Files that changed under a role's path would give other scores, values or KL without a word.
TEST(Resume, ASecondModelThatChangedIsRefused) {
  const RunWorkspace work;
  TinyOptions judge = tiny_byte_options();
  judge.num_labels = 1;
  write_tiny_folder(work / "judge", judge);
  write_tiny_folder(work / "critic");
  write_tiny_adapter(work / "reference", work.model());
  const auto path = [&](const char* name) { return (work / name).string(); };
  const Lines recipe = {"--set", "ppo.total_episodes=16",
                        "--set", "reward=[{kind: model, path: " + path("judge") + "}]",
                        "--set", "critic={kind: separate, path: " + path("critic") + "}",
                        "--set", "reference={kind: adapter, path: " + path("reference") + "}"};
  Lines resume = recipe;
  resume.insert(resume.end(), {"--resume", "--allow-inexact"});
  expect_done(work.train("run", recipe));
  expect_done(work.train("run", resume));
  const auto other = [](NamedTensors& tensors) { tensors[0].second.add_(1); };
  const auto refused = [&](const std::string& role) {
    expect_error(work.train("run", resume), 2,
                 "the snapshot belongs to another model: " + role + " ");
  };
  write_tiny_folder(work / "judge", judge, other);
  refused("reward[0]");
  write_tiny_folder(work / "judge", judge);
  write_tiny_folder(work / "critic", tiny_byte_options(), other);
  refused("critic");
  write_tiny_folder(work / "critic");
  write_tiny_adapter(work / "reference", work.model(), /*seed=*/4);
  refused("reference");
  write_tiny_adapter(work / "reference", work.model());
  expect_done(work.train("run", resume));
}

// Other lines in the same file would be drawn in another order, or held-out ones be trained on.
TEST(Resume, DataThatChangedAreNoticed) {
  const RunWorkspace work;
  expect_done(work.train("run"));
  write_text(work / "held_out.jsonl", read_text(work / "held_out.jsonl") + "{\"prompt\": \"k\"}\n");
  expect_error(work.train("run", {"--resume"}), 2,
               "the snapshot was written with held_out.jsonl 39 bytes");
  expect_done(work.train("run", {"--resume", "--allow-inexact"}));
  // Another file is a changed setting like any other.
  write_text(work / "others.jsonl", "{\"prompt\": \"k\"}\n");
  const Ended other =
      work.train("run", {"--resume", "--set", "data.eval=" + (work / "others.jsonl").string()});
  expect_done(other);
  EXPECT_THAT(other.err, HasSubstr("changed since the run began: data.eval: "));
  EXPECT_THAT(other.err, HasSubstr("from before and from now are not of the same kind"));
}

// Files of one name in two folders.
TEST(Resume, EachDataFileIsKnownByWhatItIsFor) {
  const RunWorkspace work;
  for (const char* role : {"train", "eval"}) std::filesystem::create_directory(work / role);
  const auto file = [&](const char* role) { return work / role / "data.jsonl"; };
  const auto restore = [&] {
    std::filesystem::copy_file(work / "prompts.jsonl", file("train"),
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(work / "held_out.jsonl", file("eval"),
                               std::filesystem::copy_options::overwrite_existing);
  };
  restore();
  const Lines recipe = {
      "--set", "data={train: " + file("train").string() + ", eval: " + file("eval").string() + "}"};
  Lines resume = recipe;
  resume.push_back("--resume");
  expect_done(work.train("run", recipe));
  expect_done(work.train("run", resume));
  for (const char* role : {"train", "eval"}) {
    write_text(file(role), read_text(file(role)) + "{\"prompt\": \"k\"}\n");
    const Ended refused = work.train("run", resume);
    expect_error(refused, 2, "the snapshot was written with data.jsonl ");
    EXPECT_THAT(refused.err, HasSubstr(std::string("(data.") + role + "; now "));
    restore();
  }
}

// Shapes do not tell 8 from 16.
TEST(Resume, AnotherScalingOfTheAdapterIsRefused) {
  const RunWorkspace work;
  expect_done(work.train("run"));
  const Lines alpha = {"--set", "lora.lora_alpha=16"};
  Lines resume = alpha;
  resume.push_back("--resume");
  expect_error(work.train("run", resume), 2, "by 2, this recipe by 4");
  Lines evaluate = {"evaluate", work.recipe().string(), "--run-dir", (work / "run").string()};
  expect_done(run_leash(evaluate));
  Lines other = evaluate;
  other.insert(other.end(), alpha.begin(), alpha.end());
  expect_error(run_leash(other), 2, "by 2, this recipe by 4");
  // Differences from the run are reported.
  evaluate.insert(evaluate.end(), {"--set", "rollout.response_length=12"});
  const Ended shorter = run_leash(evaluate);
  expect_done(shorter);
  EXPECT_THAT(shorter.err, HasSubstr("not as in the run: rollout.response_length: 24 -> 12"));
  // Without a recipe it is the run's own.
  expect_done(work.train("wide", alpha));
  const Ended own = run_leash({"evaluate", "--run-dir", (work / "wide").string()});
  expect_done(own);
  EXPECT_EQ(own.err, "");
  write_text(work / "sft.yaml", "task: sft\nmodel: {path: model}\ndata: {train: prompts.jsonl}\n");
  expect_error(
      run_leash({"evaluate", (work / "sft.yaml").string(), "--run-dir", (work / "wide").string()}),
      2, "is the folder of another task (task: ppo -> sft)");
}

// A snapshot that verifies and says nonsense.
TEST(Resume, ImpossibleStepsAreRefused) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.total_episodes=16"}));
  const auto snapshot = work / "run/snapshots/step-2";
  const std::string before = read_text(snapshot / "state.json");
  for (const auto& [key, value] : {std::pair<const char*, Json>{"step", -1},
                                   {"step", 1},
                                   {"step", 2.5},
                                   {"prompts_consumed", -8},
                                   {"best_step", 3}}) {
    SnapshotWriter writer(work / "run", 2);
    std::filesystem::copy(snapshot, writer.folder(),
                          std::filesystem::copy_options::recursive |
                              std::filesystem::copy_options::overwrite_existing);
    auto state = nlohmann::ordered_json::parse(before);
    state[key] = value;
    write_text(writer.folder() / "state.json", state.dump(1));
    writer.commit();
    expect_error(work.train("run", {"--resume"}), 3,
                 (snapshot / "state.json").string() + ": " + key + " is ");
  }
}

TEST(Resume, ADamagedSnapshotIsPassedOverAndChangesAreNamed) {
  const RunWorkspace work;
  expect_done(work.train("whole"));
  expect_done(work.train("run", {"--set", "ppo.total_episodes=48"}));
  std::filesystem::remove_all(work / "run/adapter");
  // The newest three are spoilt in three ways.
  std::filesystem::remove(work / "run/snapshots/step-6/critic.safetensors");
  write_text(work / "run/snapshots/step-4/state.json", "{}");
  const Ended resumed = work.train("run", {"--resume"});
  expect_done(resumed);
  EXPECT_THAT(resumed.err, HasSubstr("step-6"));
  EXPECT_THAT(resumed.err, HasSubstr("step-4"));
  work.expect_equal_runs("whole", "run");

  const Ended changed = work.train("run", {"--resume", "--set", "ppo.kl_coef=0.5"});
  expect_done(changed);
  EXPECT_THAT(changed.err, HasSubstr("changed since the run began: ppo.kl_coef: 0.05 -> 0.5"));
  const Ended other = work.train("run", {"--resume", "--set", "lora.r=8"});
  expect_error(other, 3, "was the recipe changed?");
  EXPECT_THAT(other.err, HasSubstr("changed since the run began: lora.r: 4 -> 8"));
  for (const auto& [inexact, what] :
       {std::pair<Lines, std::string>{{"--dtype", "bfloat16"}, "dtype Float (now BFloat16)"},
        {{"--set", "lanes.threads_per_lane=2"}, "threads 1 (now 2)"}}) {
    Lines args = inexact;
    args.push_back("--resume");
    expect_error(work.train("run", args), 2, "the snapshot was written with " + what);
    args.push_back("--allow-inexact");
    const Ended waived = work.train("run", args);
    expect_done(waived);
    EXPECT_THAT(waived.err, HasSubstr("--allow-inexact: the snapshot was written with " + what));
  }
  expect_error(work.train("run", {"--set", "model.quantize=int8", "--resume", "--allow-inexact"}),
               2, "the snapshot belongs to another model: quantize none (now int8)");
}

}  // namespace
}  // namespace leash::testing
