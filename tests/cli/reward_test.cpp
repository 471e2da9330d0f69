// leash train with task: reward, from pairs to PPO's reward.
#include <csignal>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

class RewardWorkspace : public RunWorkspace {
 public:
  RewardWorkspace() {
    write_text(*this / "pairs.jsonl", pairs(0, 24));
    write_text(*this / "held_out.jsonl", pairs(24, 12));
    write_text(*this / "reward.yaml",
               "task: reward\n"
               "model: {path: model}\n"
               "lora: {r: 4, lora_alpha: 8, target_modules: all-linear}\n"
               "data: {train: pairs.jsonl, eval: held_out.jsonl}\n"
               "reward: {max_steps: 6, per_device_train_batch_size: 4, learning_rate: 5.0e-3,\n"
               "         center_rewards_coefficient: 0.01, eval_strategy: steps, eval_steps: 3,\n"
               "         eval_on_start: true, eval_answers: 2, micro_batch_tokens: 100}\n"
               "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }
  Ended train_reward(const std::string& folder, const Lines& more = {}) const {
    Lines args = {"train", (*this / "reward.yaml").string(), "--run-dir",
                  (*this / folder).string()};
    args.insert(args.end(), more.begin(), more.end());
    return run_leash(args);
  }
  Ended evaluate(const std::string& folder, const Lines& more = {}) const {
    Lines args = {"evaluate", (*this / "reward.yaml").string(), "--run-dir",
                  (*this / folder).string()};
    args.insert(args.end(), more.begin(), more.end());
    return run_leash(args);
  }

 private:
  static std::string pairs(int first, int count) {
    std::string text;
    for (int i = first; i < first + count; ++i) {
      const Json prompt = {{{"role", "user"}, {"content", "q" + std::to_string(i / 2)}}};
      const auto answer = [](const std::string& content) {
        return Json{{{"role", "assistant"}, {"content", content}}};
      };
      text += Json{{"prompt", prompt},
                   {"chosen", answer(std::string(1 + i % 5, 'y') + "es")},
                   {"rejected", answer(std::string(1 + i % 3, 'n') + "o")}}
                  .dump() +
              "\n";
    }
    return text;
  }
};

TEST(RewardCommand, TrainsAndEvaluates) {
  const RewardWorkspace work;
  const std::string weights = read_text(work.model() / "model.safetensors");
  const Ended whole = work.train_reward("whole");
  expect_done(whole);
  EXPECT_THAT(whole.out, HasSubstr("accuracy [95 %]"));
  EXPECT_THAT(whole.err, HasSubstr("24 pairs over 12 prompts"));
  EXPECT_TRUE(read_text(work.model() / "model.safetensors") == weights);
  EXPECT_THAT(read_text(work / "whole/report.html"), HasSubstr("Calibration"));
  const auto rows = json_lines(read_text(work / "whole/metrics.jsonl"));
  ASSERT_EQ(rows.size(), 7u);
  for (const char* key : {"loss", "accuracy", "margin", "min_reward", "mean_reward", "max_reward",
                          "num_tokens", "learning_rate", "grad_norm"}) {
    EXPECT_TRUE(rows[6].contains(key)) << key;
  }
  EXPECT_TRUE(rows[0].contains("eval/accuracy") && rows[3].contains("eval/accuracy"));

  const Ended newest = work.evaluate("whole", {"--json"});
  expect_done(newest);
  const Json figures = json_lines(newest.out).at(0);
  EXPECT_EQ(figures["step"], 6);
  EXPECT_EQ(figures["pairs"], 12);
  EXPECT_EQ(figures["accuracy"]["mean"], rows[6]["eval/accuracy"]);
  EXPECT_EQ(figures["loss"], rows[6]["eval/loss"]);
  EXPECT_EQ(figures["calibration"].size(), 1u);
  const Json before = json_lines(work.evaluate("whole", {"--json", "--snapshot", "0"}).out).at(0);
  EXPECT_EQ(before["loss"], rows[0]["eval/loss"]);
  EXPECT_LT(figures["loss"].get<double>(), before["loss"].get<double>());
  EXPECT_THAT(work.evaluate("whole").out, HasSubstr("score with length, correlation"));
}

TEST(RewardCommand, PpoIsTrainedAgainstTheAdapter) {
  const RewardWorkspace work;
  expect_done(work.train_reward("reward"));
  const std::string source =
      "reward=[{kind: adapter, path: " + (work / "reward/adapter").string() + "}]";
  const Ended ended = work.train("ppo", {"--set", source, "--set", "ppo.total_episodes=16", "--set",
                                         "data.eval=" + (work / "prompts.jsonl").string()});
  expect_done(ended);
  const auto rows = json_lines(read_text(work / "ppo/metrics.jsonl"));
  EXPECT_NE(rows[1]["objective/scores"], 0);
  const auto wrong = [&](const std::string& reward) {
    return work.train("wrong", {"--set", "reward=[" + reward + "]"});
  };
  expect_error(wrong("{kind: adapter}"), 2, "kind: adapter needs an adapter folder");
  expect_error(wrong("{kind: adapter, path: x, words: [a]}"), 2, "has no effect");
  expect_error(wrong("{kind: model, path: " + (work / "reward/adapter").string() + "}"), 3,
               "kind: adapter reads it");
  write_tiny_adapter(work / "plain", work.model());
  expect_error(wrong("{kind: adapter, path: " + (work / "plain").string() + "}"), 3,
               "has no score head");
}

// Trained at the line break behind EOS: `leash score` reads there, too.
TEST(RewardCommand, ScoresAreReadWhereTheAdapterWasTrained) {
  const RewardWorkspace work;
  expect_done(work.train_reward("run", {"--set", "data.end_at_eos=false"}));
  std::string conversations;
  std::vector<double> trained;
  for (const Json& sample : json_lines(read_text(work / "run/samples.jsonl"))) {
    if (sample["step"] != 6) continue;
    conversations += Json{{"messages",
                           {{{"role", "user"}, {"content", sample["prompt"]}},
                            {{"role", "assistant"}, {"content", sample["answer"]}}}}}
                         .dump() +
                     "\n";
    trained.push_back(sample["score"]);
  }
  ASSERT_EQ(trained.size(), 4u);
  const auto score = [&] {
    return work.run("score",
                    {"--adapter", (work / "run/adapter").string(), "--input", "-", "--json"},
                    {.input = conversations + "{\"text\": \"plain\"}\n"});
  };
  const Ended ended = score();
  expect_done(ended);
  EXPECT_EQ(ended.err, "");
  const auto lines = json_lines(ended.out);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(lines[i]["score"].get<double>(), trained[i], 1e-5);
    EXPECT_EQ(lines[i]["token_ids"].back(), ids_of("\n")[0]);
  }
  EXPECT_EQ(lines[4]["token_ids"].back(), 2) << "EOS, as data.append_eos has it";

  // One that does not say.
  const auto file = work / "run/adapter/adapter_model.safetensors";
  write_safetensors(file, read_safetensors(file));
  const Ended unsaid = score();
  expect_done(unsaid);
  EXPECT_THAT(unsaid.err, HasSubstr("does not say what texts ended with"));
  EXPECT_EQ(json_lines(unsaid.out).at(0)["token_ids"].back(), 2);
}

// The program hangs when it is called for the fourth time: the run ends, snapshots of the steps
// before stay.
TEST(RewardCommand, AProgramThatHangsEndsTheRunWithItsSnapshot) {
  const RunWorkspace work;
  write_text(work / "reward.sh",
             "cd \"$(dirname \"$0\")\"\necho >>calls\n"
             "[ \"$(wc -l <calls)\" -ge 4 ] && echo $$ >pid && sleep 300\n"
             "while read -r line; do echo $((${#line} % 7)); done\n");
  const auto with = [&](const std::string& limit) {
    return Lines{
        "--set",
        "reward=[{kind: command, command: sh " + (work / "reward.sh").string() + limit + "}]",
        "--set", "run.save_steps=1"};
  };
  const Ended ended = work.train("run", with(", timeout_seconds: 8"));
  expect_error(ended, 1, "did not end within 8 s (timeout_seconds)");
  EXPECT_THAT(ended.err, HasSubstr("the last snapshot is "));
  EXPECT_TRUE(std::filesystem::exists(work / "run/snapshots/step-1"));

  // Killed, leash leaves no program behind.
  std::filesystem::remove(work / "pid");
  std::filesystem::remove(work / "calls");
  Process process(leash_command(work.train_args("killed", with(""))));
  EXPECT_TRUE(process.wait_until([&] { return std::filesystem::exists(work / "pid"); }));
  std::string pid;
  EXPECT_TRUE(process.wait_until([&] {
    pid = read_text(work / "pid");
    return pid.ends_with('\n');
  }));
  EXPECT_FALSE(ended_already(std::stoi(pid)));
  process.signal(SIGKILL);
  process.wait();
  EXPECT_TRUE(ends_soon(std::stoi(pid)));
}

TEST(RewardCommand, BadDataIsNamedByLine) {
  const RewardWorkspace work;
  write_text(work / "pairs.jsonl",
             "{\"chosen\": \"a\", \"rejected\": \"b\"}\n{\"chosen\": \"a\"}\n");
  expect_error(work.train_reward("run"), 3, "pairs.jsonl:2: needs `chosen` and `rejected`");
}

}  // namespace
}  // namespace leash::testing
