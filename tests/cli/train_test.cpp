// leash train: what a run leaves behind, and everything that must not go wrong silently.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>
#include <map>
#include <set>

#include "rl/data/prompts.h"
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

  // TensorBoard's events hold the same names.
  std::string events;
  for (const auto& entry : std::filesystem::directory_iterator(work / "run")) {
    if (entry.path().filename().string().starts_with("events.out.tfevents."))
      events += read_text(entry.path());
  }
  // Every name is explained in docs/algorithms/ppo.md.
  const std::string docs = read_text(repository("docs/algorithms/ppo.md"));
  for (const Json& step : {steps[0], steps[6]}) {
    for (const std::string& key : keys_of(step)) {
      if (key == "step") continue;
      EXPECT_THAT(events, HasSubstr(key));
      // A source's own label stands where the docs say <label>, another one's at <other>.
      const bool labelled = key.starts_with("rewards/");
      const bool of_two = labelled && key.find("/corr/") != std::string::npos;
      const std::string name = of_two     ? "rewards/<label>/corr/<other>"
                               : labelled ? "rewards/<label>" + key.substr(key.rfind('/'))
                                          : key;
      EXPECT_THAT(docs, HasSubstr("`" + name + "`"));
    }
  }

  // The trained adapter is one that other commands read.
  expect_done(work.run("generate", {"--prompt", "x", "--adapter", "run/adapter"}));
}

// What one line of metrics.jsonl says under perf/: each phase's seconds add up, and tokens per
// second are the answers' tokens (in the update, once per epoch) over them.
TEST(Train, EveryPhaseHasItsSecondsAndTokensPerSecond) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.total_episodes=8"}));
  const Json step = json_lines(read_text(work / "run/metrics.jsonl")).at(1);
  const auto perf = [&](const std::string& name) { return step.at("perf/" + name).get<double>(); };
  const double tokens = 8 * step.at("val/response_length").get<double>();
  for (const auto& [phase, passes] :
       {std::pair<std::string, double>{"sampling", 1}, {"scoring", 1}, {"update", 2}}) {
    const double rate = passes * tokens / perf("seconds_" + phase);
    EXPECT_NEAR(perf(phase + "_tokens_per_second"), rate, 1e-6 * rate) << phase;
  }
  EXPECT_NEAR(perf("seconds_sampling") + perf("seconds_scoring") + perf("seconds_update"),
              perf("seconds"), 1e-9);
  EXPECT_NEAR(perf("eps"), 8 / perf("seconds"), 1e-6 * perf("eps"));
  EXPECT_GT(perf("peak_memory_mb"), 10);
}

// A run that goes on from an adapter is held to that adapter, or to the base when the recipe says
// so.
// The first answers of each iteration, and beside them the held-out lines as ever.
TEST(Train, TrainingAnswersAreKept) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "run.samples_per_step=3"}));
  expect_done(work.train("none", {"--set", "run.samples_per_step=0"}));
  const auto prompts = json_lines(read_text(work / "prompts.jsonl"));
  std::string held_out;
  std::map<int64_t, std::vector<Json>> by_step;
  for (const std::string& line : lines_of(read_text(work / "run/samples.jsonl"))) {
    const Json sample = Json::parse(line);
    if (!sample.contains("split")) {
      held_out += line + "\n";
      continue;
    }
    EXPECT_EQ(sample["split"], "train");
    EXPECT_EQ(sample["prompt"], prompts.at(sample["index"].get<size_t>())["prompt"]);
    const double sum = sample["scores"]["length"].get<double>() +
                       0.5 * sample["scores"]["distinct_bigrams"].get<double>();
    EXPECT_NEAR(sample["score"].get<double>(), sum, 1e-5);
    EXPECT_TRUE(sample["advantage"].is_number() && sample["kl"].is_number());
    by_step[sample["step"]].push_back(sample);
  }
  EXPECT_EQ(held_out, read_text(work / "none/samples.jsonl"));
  ASSERT_EQ(by_step.size(), 6u);
  std::set<std::string> asked;
  for (const auto& [step, samples] : by_step) {
    EXPECT_EQ(samples.size(), 3u) << step;
    for (const Json& sample : samples) asked.insert(sample["prompt"].get<std::string>());
  }
  EXPECT_NEAR(by_step[1][0]["kl"].get<double>(), 0, 1e-4);
  EXPECT_GT(asked.size(), 3u);
}

// The bound on dynamic sampling: where no answer ever has the word, every round is in vain, and the
// data cursor says what it cost.
TEST(Train, SamplingForASignalEndsAtItsBound) {
  const RunWorkspace work;
  write_text(
      work.recipe(),
      "task: grpo\nmodel: {path: model}\n"
      "reward: [{kind: function, name: distinct_words, words: [zzzzz]}]\n"
      "data: {train: prompts.jsonl}\nrollout: {response_length: 8}\n"
      "grpo: {total_episodes: 36, batch_size: 6, num_generations: 3, max_num_gen_batches: 3}\n"
      "lanes: {threads_per_lane: 1}\nrun: {seed: 5, save_steps: 1, threads: 1}\n");
  expect_done(work.train("run"));
  const auto rows = json_lines(read_text(work / "run/metrics.jsonl"));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["sampling/num_gen_batches"], 3);
  EXPECT_EQ(rows[1]["sampling/groups_left_out"], 4);
  EXPECT_EQ(rows[1]["episode"], 2 * 3 * 6);
  EXPECT_EQ(rows[1]["frac_reward_zero_std"], 1);
  EXPECT_EQ(rows[1]["frac_reward_zero_std_all_low"], 1);
  const Json state = Json::parse(read_text(work / "run/snapshots/step-2/state.json"));
  EXPECT_EQ(state["prompts_consumed"], 2 * 3 * 2);
  // The second iteration goes on behind all that the first one asked.
  std::vector<int64_t> asked;
  for (const Json& sample : json_lines(read_text(work / "run/samples.jsonl"))) {
    asked.push_back(sample["index"].get<int64_t>());
  }
  const PromptOrder order(7, /*shuffle=*/true, 5);
  EXPECT_EQ(asked.front(), order.next(0, 1).front());
  EXPECT_EQ(asked.at(6), order.next(6, 1).front());
}

TEST(Train, KlStartsAtZeroFromAnAdapterAndNotFromTheBase) {
  const RunWorkspace work;
  write_tiny_adapter(work / "warm", work.model(), /*seed=*/3, /*scale=*/0.1);
  const std::string warm = "lora={path: " + (work / "warm").string() + "}";
  expect_done(work.train("held", {"--set", warm}));
  const auto held = json_lines(read_text(work / "held/metrics.jsonl"));
  EXPECT_NEAR(held.at(1).at("objective/kl").get<double>(), 0, 1e-5 * 24);
  for (const char* way : {"eval/greedy/kl", "eval/sampled/kl"}) {
    EXPECT_NEAR(held.at(0).at(way).get<double>(), 0, 1e-5);
    EXPECT_GT(held.at(3).at(way).get<double>(), 1e-3);
    EXPECT_GT(held.at(6).at(way).get<double>(), 1e-3);
  }
  expect_done(work.train("free", {"--set", warm, "--set", "reference.kind=adapter_off", "--set",
                                  "ppo.total_episodes=8"}));
  const auto free = json_lines(read_text(work / "free/metrics.jsonl"));
  EXPECT_GT(free.at(0).at("eval/sampled/kl").get<double>(), 0.1);
  EXPECT_GT(std::abs(free.at(1).at("objective/kl").get<double>()), 0.1);
}

TEST(Train, PpoRunsWithoutDropout) {
  const RunWorkspace work;
  write_tiny_adapter(work / "warm", work.model());
  const std::string config = read_text(work / "warm/adapter_config.json");
  Json changed = Json::parse(config);
  changed["lora_dropout"] = 0.5;
  write_text(work / "dropping/adapter_config.json", changed.dump());
  write_text(work / "dropping/adapter_model.safetensors",
             read_text(work / "warm/adapter_model.safetensors"));
  // A fresh adapter, whose update is zero at first, and one whose update is not.
  const std::string path = (work / "dropping").string();
  for (const auto& [folder, setting] :
       {std::pair<std::string, std::string>{"fresh", "lora.lora_dropout=0.5"},
        {"loaded", "lora={path: " + path + "}"}}) {
    const Ended ended = work.train(folder, {"--set", setting, "--set", "ppo.total_episodes=24"});
    expect_done(ended);
    EXPECT_EQ(ended.err.find("without dropout") != std::string::npos, folder == "fresh");
    for (int64_t step = 1; step <= 3; ++step) {
      const Json row = json_lines(read_text(work / folder / "metrics.jsonl")).at(step);
      EXPECT_LT(row.at("policy/logprob_gap_max").get<double>(), 1e-4) << folder << step;
    }
  }
}

// One rate per iteration, the same shape for policy (1e-2 at most) and critic (1e-4).
TEST(Train, LearningRatesFollowTheSchedule) {
  const RunWorkspace work;
  const auto expect_rates = [&](const std::string& folder, const Lines& settings,
                                const std::vector<double>& factors) {
    Lines args = {"--set", "critic.learning_rate=1.0e-4"};
    for (const std::string& setting : settings) args.insert(args.end(), {"--set", setting});
    expect_done(work.train(folder, args));
    const auto rows = json_lines(read_text(work / folder / "metrics.jsonl"));
    for (size_t i = 0; i < factors.size(); ++i) {
      EXPECT_NEAR(rows.at(i + 1).at("lr").get<double>(), 1e-2 * factors[i], 1e-12) << folder << i;
      EXPECT_NEAR(rows.at(i + 1).at("critic/lr").get<double>(), 1e-4 * factors[i], 1e-14);
    }
  };
  expect_rates("linear", {"ppo.warmup_steps=2"}, {0, 0.5, 1, 0.75, 0.5, 0.25});
  // 0.5 of six iterations rise, then (1 + cos πt) / 2.
  expect_rates("cosine", {"ppo.lr_scheduler_type=cosine", "ppo.warmup_ratio=0.5"},
               {0, 1.0 / 3, 2.0 / 3, 1, 0.75, 0.25});
}

TEST(Train, EvaluationsTakeSeveralSamples) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.eval_samples=3", "--set", "ppo.total_episodes=8"}));
  const Json evaluations = Json::parse(read_text(work / "run/evaluations/step-0.json"));
  std::map<std::string, std::map<int64_t, std::multiset<std::string>>> answers;
  for (const Json& evaluation : evaluations) {
    for (const Json& answer : evaluation.at("answers")) {
      answers[evaluation.at("decoding")][answer.at("prompt")].insert(answer.at("text"));
    }
  }
  for (const int64_t prompt : {0, 1}) {
    EXPECT_EQ(answers.at("greedy").at(prompt).size(), 1u);
    const auto& sampled = answers.at("sampled").at(prompt);
    EXPECT_EQ(sampled.size(), 3u);
    EXPECT_EQ(std::set(sampled.begin(), sampled.end()).size(), 3u) << "draws of their own";
  }
}

TEST(Train, WithoutAFolderTheRunIsNamedAfterItsRecipeAndTheTime) {
  const RunWorkspace work;
  std::filesystem::create_directories(work / "here");
  ProcessOptions here;
  here.folder = work / "here";
  expect_done(run_leash({"train", work.recipe().string(), "--set", "ppo.total_episodes=8"}, here));
  Lines names;
  for (const auto& entry : std::filesystem::directory_iterator(work / "here/runs")) {
    names.push_back(entry.path().filename());
    EXPECT_TRUE(std::filesystem::exists(entry.path() / "metrics.jsonl"));
  }
  ASSERT_EQ(names.size(), 1u);
  EXPECT_THAT(names[0], ::testing::MatchesRegex("recipe-[0-9]{8}-[0-9]{6}"));
}

// What `make demo` ends with: the table of both ways of decoding, three answers side by side, and
// where adapter and report lie.
TEST(Train, EndsWithATableAndThreeAnswersSideBySide) {
  const RunWorkspace work;
  std::string held_out;
  for (const char* prompt : {"theta", "iota", "kappa", "lambda", "mu"}) {
    held_out += Json{{"prompt", prompt}}.dump() + "\n";
  }
  write_text(work / "held_out.jsonl", held_out);
  const Ended ended = work.train("run");
  expect_done(ended);
  Lines lines = lines_of(ended.out);
  const auto beginning = [&](const std::string& with) {
    return std::ranges::count_if(lines, [&](const std::string& l) { return l.starts_with(with); });
  };
  EXPECT_THAT(lines.at(0),
              ::testing::MatchesRegex("step [36] .best held-out reward of 2 evaluations on these "
                                      "prompts, which flatters it. against the start"));
  EXPECT_THAT(lines.at(1), ::testing::MatchesRegex("held-out prompts: 5 +before +after"));
  for (const std::string way : {"greedy: ", "sampled: "}) {
    for (const char* row :
         {"reward [95 %] ", "gain, paired [95 %] ", "exact KL, nats per answer ",
          "perplexity under reference ", "distinct bigrams ", "tokens per answer "}) {
      EXPECT_EQ(beginning(way + row), 1) << way << row;
    }
  }
  EXPECT_EQ(beginning("prompt: "), 3);
  EXPECT_EQ(beginning("  before ("), 3);
  EXPECT_EQ(beginning("  after  ("), 3);
  EXPECT_EQ(beginning("adapter: " + (work / "run/adapter").string()), 1);
  EXPECT_EQ(beginning("report:  " + (work / "run/report.html").string()), 1);
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

// A step so long that the weights overflow in the next forward pass, or at once.
TEST(Train, ADestroyedAdapterIsNotExported) {
  const RunWorkspace work;
  write_text(work / "texts.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
  write_text(work / "sft.yaml",
             "task: sft\nmodel: {path: model}\nlora: {r: 4, target_modules: all-linear}\n"
             "data: {train: texts.jsonl}\nsft: {max_steps: 1}\nrun: {threads: 1}\n");
  const auto train = [&](const std::string& recipe, const Lines& settings) {
    Lines args = {"train", (work / recipe).string(), "--run-dir", (work / "run").string()};
    for (const std::string& setting : settings) args.insert(args.end(), {"--set", setting});
    std::filesystem::remove_all(work / "run");
    return run_leash(args);
  };
  const std::string one_step =
      "ppo={total_episodes: 8, batch_size: 8, num_ppo_epochs: 1, "
      "num_mini_batches: 1, learning_rate: ";
  const std::string no_eval = "data={train: " + (work / "prompts.jsonl").string() + "}";
  expect_error(train("sft.yaml", {"sft.learning_rate=1.0e+39"}), 2, "sft.learning_rate: is beyond");
  expect_error(train("recipe.yaml", {no_eval, one_step + "1.0e+39}"}), 2,
               "ppo.learning_rate: is beyond");
  for (const auto& [recipe, settings] :
       {std::pair<std::string, Lines>{"sft.yaml", {"sft.learning_rate=1.0e+30"}},
        {"sft.yaml", {"sft.learning_rate=1.0e+38", "sft.optim=sgd"}},
        {"recipe.yaml", {no_eval, one_step + "1.0e+30}"}}}) {
    const Ended ended = train(recipe, settings);
    EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("not finite")) << settings.back();
    EXPECT_THAT(ended.err, HasSubstr("snapshot")) << settings.back();
    EXPECT_FALSE(std::filesystem::exists(work / "run/adapter")) << settings.back();
  }
}

// The snapshot of the step that destroyed the policy is not the good one, and did not push it out.
TEST(Train, TheGoodSnapshotStaysUntilTheNextIsProven) {
  const RunWorkspace work;
  const auto settings = [&](const std::string& ppo) {
    return Lines{
        "--set", "data={train: " + (work / "prompts.jsonl").string() + "}",
        "--set", "run.save_steps=1",
        "--set", "run.save_total_limit=1",
        "--set", "ppo={batch_size: 8, num_ppo_epochs: 1, num_mini_batches: 1, " + ppo + "}"};
  };
  const auto snapshots = [&] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(work / "run/snapshots"))
      names.insert(entry.path().filename());
    return names;
  };
  expect_done(work.train("run", settings("total_episodes: 16, learning_rate: 1.0e-2")));
  EXPECT_EQ(snapshots(), (std::set<std::string>{"step-2"})) << "the last one was proven";
  Lines resume = settings("total_episodes: 48, learning_rate: 1.0e+30");
  resume.push_back("--resume");
  const Ended ended = work.train("run", resume);
  EXPECT_EQ(ended.code, 1) << ended.err;
  const std::string folder = (work / "run/snapshots").string();
  EXPECT_THAT(ended.err, HasSubstr("the last good snapshot is " + folder + "/step-2; " + folder +
                                   "/step-3 holds the weights of this"));
  EXPECT_EQ(snapshots(), (std::set<std::string>{"step-2", "step-3"}));
  // As often as it is tried.
  EXPECT_THAT(work.train("run", resume).err, HasSubstr("good snapshot is " + folder + "/step-2;"));
  std::filesystem::remove_all(work / "run/snapshots/step-3");
  resume = settings("total_episodes: 48, learning_rate: 1.0e-2");
  resume.push_back("--resume");
  expect_done(work.train("run", resume));
  EXPECT_EQ(snapshots(), (std::set<std::string>{"step-6"}));
}

// The model is fine and only the loss is not.
TEST(Train, ALossThatOverflowsIsNotApplied) {
  const RunWorkspace work;
  expect_done(work.train("run", {"--set", "ppo.total_episodes=16"}));
  const Ended ended =
      work.train("run", {"--resume", "--set", "ppo.kl_target=null", "--set", "ppo.kl_coef=1.0e38"});
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

// `train … 2>&1 | head -1`: nobody reads what the run says.
TEST(Train, ConsoleAndOutputThatNobodyReadsCostNoSnapshot) {
  const RunWorkspace work;
  std::string command = "{";
  for (const std::string& word : leash_command(work.train_args("run")))
    command += " '" + word + "'";
  const Ended ended = Process({"/bin/bash", "-c", command + " 2>&1; echo $? >code; } | head -1"},
                              {.folder = work.path(), .environment = {{"OMP_NUM_THREADS", "1"}}})
                          .wait();
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(read_text(work / "code"), "1\n") << "what should have been printed at the end was not";
  EXPECT_EQ(work.steps_written("run"), 7);
  EXPECT_TRUE(std::filesystem::exists(work / "run/snapshots/step-6"));
  EXPECT_TRUE(std::filesystem::exists(work / "run/adapter/adapter_model.safetensors"));
}

// Else the run's own files would take these numbers, and its console would write into them.
TEST(Train, WithClosedDescriptorsTheFilesHoldWhatTheyShould) {
  const RunWorkspace work;
  expect_done(work.train("open"));
  const Ended ended = run_leash(work.train_args("closed"), {.closed = {0, 1, 2}});
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.out + ended.err, "");
  work.expect_equal_runs("open", "closed");
  EXPECT_TRUE(std::filesystem::exists(work / "closed/report.html"));
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
  const Lines every = {"--set", "ppo.eval_steps=1", "--set", "ppo.kl_target=null"};
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
  // A bound that came later counts for what was evaluated before.
  Lines stricter = bounded;
  stricter.push_back("--resume");
  const Ended again = work.train("free", stricter);
  expect_done(again);
  EXPECT_THAT(again.err,
              HasSubstr(fmt::format("the best step so far is {} instead of {}", second, best)));
  EXPECT_TRUE(exported_is("free", second)) << second;
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
