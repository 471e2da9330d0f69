// Sources of reward in whole runs: what they get, where they run, what becomes of a run in which
// one fails.
#include <algorithm>

#include "models/io/snapshot.h"
#include "tests/cli/run_workspace.h"
#include "tests/support/scripted_server.h"

namespace leash::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class RewardsWorkspace : public RunWorkspace {
 public:
  RewardsWorkspace() {
    write_text(*this / "gold.jsonl",
               "{\"prompt\": \"one\", \"gold\": \"1\", \"id\": 11}\n"
               "{\"messages\": [{\"role\": \"user\", \"content\": \"two\"}], \"gold\": 2, "
               "\"id\": 12}\n");
  }
  // So many steps of eight answers, a snapshot at the end alone.
  static Lines settings(const std::string& rewards, int64_t steps = 2) {
    return {
        "--set", "reward=" + rewards,  "--set", "ppo.total_episodes=" + std::to_string(8 * steps),
        "--set", "run.save_steps=100", "--set", "ppo.eval_steps=0"};
  }
  Lines gold(Lines args) const {
    args.insert(args.end(), {"--set", "data.train=" + (*this / "gold.jsonl").string(), "--set",
                             "data.eval=" + (*this / "gold.jsonl").string()});
    return args;
  }
  std::string program(const std::string& name, const std::string& text) const {
    write_text(*this / name, text);
    return "sh " + (*this / name).string();
  }
};

TEST(Rewards, ProgramsGetEveryColumnAndTheStep) {
  const RewardsWorkspace work;
  const std::string command =
      work.program("tee.sh", "tee -a " + (work / "lines").string() + " | sed 's/.*/1/'\n");
  expect_done(work.train("run", work.gold(RewardsWorkspace::settings(
                                    "[{kind: command, ids: true, command: " + command + "}]"))));
  std::map<int64_t, int64_t> steps;
  for (const Json& line : json_lines(read_text(work / "lines"))) {
    EXPECT_THAT(keys_of(line), ElementsAre("answer", "answer_ids", "ended", "messages", "prompt",
                                           "prompt_ids", "row", "step"));
    ++steps[line["step"]];
    EXPECT_FALSE(line["prompt_ids"].empty());
    if (line["row"]["id"] == 11) {
      EXPECT_EQ(line["prompt"], "one");
      EXPECT_EQ(line["messages"], nullptr);
      EXPECT_EQ(line["row"].dump(), R"({"gold":"1","id":11,"prompt":"one"})");
    } else {
      EXPECT_THAT(line["prompt"].get<std::string>(), HasSubstr("<|im_start|>user\ntwo<|im_end|>"));
      EXPECT_EQ(line["messages"].dump(), R"([{"content":"two","role":"user"}])");
      EXPECT_EQ(line["row"]["gold"], 2);
    }
  }
  // Two prompts, greedy and sampled, before and after; steps 1 and 2 of eight answers.
  EXPECT_EQ(steps, (std::map<int64_t, int64_t>{{0, 4}, {1, 8}, {2, 8 + 4}}));
}

TEST(Rewards, APromptWithoutTheColumnIsNamedBeforeTheRun) {
  const RewardsWorkspace work;
  const Ended ended =
      work.train("run", work.gold(RewardsWorkspace::settings(
                            "[{kind: function, name: numeric_answer, column: golden}]")));
  expect_error(ended, 3, "gold.jsonl:1: the column `golden` is missing");
}

TEST(Rewards, AColumnThatNobodyReadsIsNamed) {
  const RewardsWorkspace work;
  const Ended ended =
      work.train("run", work.gold(RewardsWorkspace::settings(
                            "[{kind: function, name: exact_answer, column: gold}]", 1)));
  expect_done(ended);
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr("nothing here reads `id` (line 1)\n"), Not(HasSubstr("`gold`"))));
}

TEST(Rewards, MetricsAreByLabelAndBeforeWeightAndClip) {
  const RewardsWorkspace work;
  expect_done(work.train(
      "run",
      RewardsWorkspace::settings(
          "[{kind: function, name: length, unit: characters, parameters: {target: 0}, weight: "
          "0.01, clip: [-1, 0]}, {kind: function, name: length, unit: characters, label: "
          "again, parameters: {target: 1000}}, {kind: function, name: regex, pattern: x*}]")));
  const auto last = Json::parse(work.metrics("run").back());
  EXPECT_LT(last["rewards/length/mean"], -1);
  EXPECT_NEAR(last["rewards/again/mean"].get<double>() - last["rewards/length/mean"].get<double>(),
              -1000 + 2 * -last["rewards/length/mean"].get<double>(), 1e-3);
  EXPECT_NEAR(last["rewards/length/std"].get<double>(), last["rewards/again/std"].get<double>(),
              1e-3);
  EXPECT_NEAR(last["rewards/length/corr/again"].get<double>(), -1, 1e-6);
  EXPECT_FALSE(last.contains("rewards/length/corr_length"));  // all have as many tokens
  EXPECT_EQ(last["rewards/regex/mean"], 1.0);
  EXPECT_FALSE(last.contains("rewards/length/corr/regex"));  // it says the same of all
  // -1 where clipped, and -(1000 - L), and 1.
  EXPECT_NEAR(last["objective/scores"].get<double>(),
              0.01 * -1 + last["rewards/again/mean"].get<double>() + 1, 1e-2);
}

// Beside the recipe, wherever leash is started, and again from the run's folder.
TEST(Rewards, AProgramIsLookedForBesideItsRecipe) {
  const RewardsWorkspace work;
  write_text(work / "mine.sh", "echo here I am >&2\nsed s/.*/2/\n");
  std::string recipe = read_text(work.recipe());
  recipe.replace(recipe.find(kReward), kReward.size(), "[{kind: command, command: sh mine.sh}]");
  recipe.replace(recipe.find("total_episodes: 48"), 18, "total_episodes: 8");
  write_text(work.recipe(), recipe);
  std::filesystem::create_directory(work / "elsewhere");
  const ProcessOptions there{.folder = work / "elsewhere"};
  const Ended trained = run_leash(work.train_args("run"), there);
  expect_done(trained);
  EXPECT_THAT(trained.err, Not(HasSubstr("here I am")));
  EXPECT_THAT(read_text(work / "run/reward-command.log"), HasSubstr("here I am\n"));
  EXPECT_THAT(read_text(work / "run/resolved.yaml"), HasSubstr("folder: " + work.path().string()));
  const Ended evaluated = run_leash(
      {"evaluate", "--run-dir", (work / "run").string(), "--run-commands", "--json"}, there);
  expect_done(evaluated);
  EXPECT_EQ(json_lines(evaluated.out).at(0)["reward"]["mean"], 2.0);
  EXPECT_THAT(evaluated.err, HasSubstr("here I am"));
  // What --set says belongs to the working folder.
  write_text(work / "elsewhere/other.sh", "sed s/.*/3/\n");
  Lines other = work.train_args("other", {"--set", "reward[0].command=sh other.sh"});
  expect_done(run_leash(other, there));
  EXPECT_EQ(Json::parse(work.metrics("other").back())["rewards/command/mean"], 3.0);
}

// The third batch of training meets a program that fails until `mended` is there.
std::string fails_at_third(const RewardsWorkspace& work) {
  return work.program("reward.sh", "cd " + work.path().string() +
                                       "\n"
                                       "echo >>calls\n"
                                       "if [ ! -e mended ] && [ $(wc -l <calls) -eq 5 ]; then\n"
                                       "  echo 'no more room' >&2\n  exit 3\nfi\n"
                                       "while read -r line; do echo $((${#line} % 7)); done\n");
}

TEST(Rewards, WhereASourceFailsTheRunStopsWithItsSnapshot) {
  const RewardsWorkspace work;
  const std::string command = fails_at_third(work);
  const Lines args = RewardsWorkspace::settings(
      "[{kind: command, normalize: running, command: " + command + "}]", 6);
  write_text(work / "mended", "");
  expect_done(work.train("whole", args));
  std::filesystem::remove(work / "mended");
  std::filesystem::remove(work / "calls");
  const Ended failed = work.train("failed", args);
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.err,
              HasSubstr("the last snapshot is " + (work / "failed/snapshots/step-2").string() +
                        "; go on with: "));
  EXPECT_THAT(failed.err, HasSubstr("ended with 3"));
  EXPECT_THAT(failed.err, HasSubstr("reward-command.log ends with: no more room"));
  EXPECT_EQ(work.steps_written("failed"), 3);
  write_text(work / "mended", "");
  Lines resume = args;
  resume.push_back("--resume");
  expect_done(work.train("failed", resume));
  work.expect_equal_runs("whole", "failed");
}

TEST(Rewards, NormalisationGoesOnFromTheSnapshot) {
  const RewardsWorkspace work;
  Lines args = RewardsWorkspace::settings(
      "[{kind: function, name: length, parameters: {target: 3}, normalize: running}]", 6);
  args.insert(args.end(), {"--set", "run.save_steps=3"});
  Lines part = args;
  part.insert(part.end(),
              {"--set", "ppo.total_episodes=24", "--set", "ppo.lr_scheduler_type=constant"});
  Lines rest = args;
  rest.insert(rest.end(), {"--set", "ppo.lr_scheduler_type=constant"});
  expect_done(work.train("whole", rest));
  expect_done(work.train("run", part));
  const auto state = Json::parse(read_text(work / "run/snapshots/step-3/state.json"));
  ASSERT_EQ(state["reward_moments"].size(), 1u);
  EXPECT_EQ(state["reward_moments"][0]["label"], "length");
  EXPECT_EQ(state["reward_moments"][0]["count"], 24);
  rest.push_back("--resume");
  expect_done(work.train("run", rest));
  const Lines left = work.metrics("whole"), right = work.metrics("run");
  EXPECT_EQ(left.back(), right.back());
  EXPECT_TRUE(read_text(work / "whole/snapshots/step-6/adapter_model.safetensors") ==
              read_text(work / "run/snapshots/step-6/adapter_model.safetensors"));
  // By all scores of the run: what the policy sees has mean 0 in the first batch alone.
  EXPECT_NEAR(Json::parse(left.at(1))["objective/scores"].get<double>(), 0, 1e-6);
  EXPECT_LT(Json::parse(left.at(1))["rewards/length/mean"].get<double>(), 0);
}

TEST(Rewards, APersistentProgramLivesThroughARun) {
  const RewardsWorkspace work;
  const std::string command = work.program(
      "counts.sh",
      "echo >>" + (work / "starts").string() +
          "\nn=0\nwhile read -r line; do n=$((n + 1)); echo \"{\\\"score\\\": $n}\"; done\n");
  expect_done(work.train(
      "run",
      RewardsWorkspace::settings("[{kind: command, mode: persistent, command: " + command + "}]")));
  EXPECT_EQ(read_text(work / "starts"), "\n");
  // Two held-out prompts, greedy and sampled, then 5 … 12.
  EXPECT_EQ(Json::parse(work.metrics("run").at(1))["rewards/command/mean"], 8.5);
}

// The number of characters of each answer.
ScriptedReply count_characters(const std::string& request, int64_t) {
  Json scores = Json::array();
  const Json sent = Json::parse(request.substr(request.find("\r\n\r\n")));
  for (const Json& answer : sent["answers"]) {
    scores.push_back(answer["answer"].get<std::string>().size());
  }
  return {.bytes = http_reply(200, Json{{"scores", scores}}.dump())};
}

TEST(Rewards, AnEndpointJudgesAndItsHeaderIsNowhere) {
  const RewardsWorkspace work;
  const ScriptedServer server(count_characters);
  const Lines args = RewardsWorkspace::settings(
      "[{kind: http, header_env: JUDGE, batch_size: 3, url: \"" + server.url() + "\"}]");
  expect_error(run_leash(work.train_args("run", args)), 2, "the environment has no JUDGE");
  std::filesystem::remove_all(work / "run");
  const ProcessOptions with{.environment = {{"JUDGE", "X-Key: s3cr3t"}}};
  const Ended ended = run_leash(work.train_args("run", args), with);
  expect_done(ended);
  for (const std::string& request : server.requests()) {
    EXPECT_THAT(request, HasSubstr("\r\nX-Key: s3cr3t\r\n"));
  }
  EXPECT_EQ(server.requests().size(), 2u * 3 + 2 * 2);  // 8 answers by 3; 2 greedy, 2 sampled
  EXPECT_EQ((ended.out + ended.err).find("s3cr3t"), std::string::npos);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(work / "run")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(read_text(entry.path()).find("s3cr3t"), std::string::npos) << entry.path();
  }
  // Somebody else's run asks first.
  const Lines evaluate = {"evaluate", "--run-dir", (work / "run").string(), "--json"};
  const Ended refused = run_leash(evaluate, with);
  expect_error(refused, 2, "--run-commands");
  EXPECT_THAT(refused.err,
              HasSubstr("answers are sent to " + server.url() + " with what is in $JUDGE"));
  Lines allowed = evaluate;
  allowed.push_back("--run-commands");
  expect_done(run_leash(allowed, with));
}

TEST(Rewards, AnEndpointThatIsGoneEndsTheRunWithItsSnapshot) {
  const RewardsWorkspace work;
  const ScriptedServer server([](const std::string& request, int64_t number) {
    return number < 4 ? count_characters(request, number)
                      : ScriptedReply{.bytes = http_reply(410, "gone for good")};
  });
  const Ended failed = work.train(
      "run", RewardsWorkspace::settings("[{kind: http, url: \"" + server.url() + "\"}]", 6));
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.err, HasSubstr("replied with status 410: gone for good"));
  EXPECT_THAT(failed.err, HasSubstr("step-2; go on with: "));
}

const char* const kTwoSources =
    "[{kind: function, name: numeric_answer, column: gold}, {kind: function, name: length, unit: "
    "tokens, parameters: {target: 4}, weight: 0.5}]";

Ended reward_test(const RewardsWorkspace& work, const Lines& more) {
  Lines args = {"reward-test", work.recipe().string(), "--set",
                std::string("reward=") + kTwoSources};
  args.insert(args.end(), more.begin(), more.end());
  return run_leash(args);
}

TEST(RewardTest, ScoresGivenAnswersAColumnEach) {
  const RewardsWorkspace work;
  write_text(work / "answers.jsonl",
             "{\"prompt\": \"a\", \"gold\": 7, \"completion\": \"is 7\"}\n"
             "{\"prompt\": \"b\", \"gold\": 8, \"completion\": [\"8\", \"no\"], \"ended\": false}\n"
             "{\"messages\": [{\"role\": \"user\", \"content\": \"c\"}], \"gold\": 9, "
             "\"completion\": [{\"role\": \"assistant\", \"content\": \"9\"}]}\n");
  const std::string file = (work / "answers.jsonl").string();
  const Ended ended = reward_test(work, {"--input", file, "--json"});
  expect_done(ended);
  const auto lines = json_lines(ended.out);
  ASSERT_EQ(lines.size(), 5u);
  // Bytes are tokens; the one that ends an answer counts.
  EXPECT_EQ(lines[0]["scores"].dump(), R"({"length":-1.0,"numeric_answer":1.0})");
  EXPECT_EQ(lines[0]["total"], 0.5);
  EXPECT_EQ(lines[1]["scores"].dump(), R"({"length":-3.0,"numeric_answer":1.0})");
  EXPECT_EQ(lines[2]["scores"].dump(), R"({"length":-2.0,"numeric_answer":0.0})");
  EXPECT_EQ(lines[3]["prompt"], "c");
  EXPECT_EQ(lines[3]["tokens"], 2);
  const Json& summary = lines[4]["summary"];
  EXPECT_EQ(summary["answers"], 4);
  EXPECT_EQ(summary["sources"][0]["label"], "numeric_answer");
  EXPECT_EQ(summary["sources"][0]["mean"], 0.75);
  const Ended table = reward_test(work, {"--input", file});
  expect_done(table);
  for (const char* part : {"numeric_answer", "length", "total", "4 answers", "is 7"}) {
    EXPECT_THAT(table.out, HasSubstr(part));
  }
}

TEST(RewardTest, WhereTheAnswersStand) {
  const RewardsWorkspace work;
  const auto file = (work / "answers.jsonl").string();
  write_text(file, "{\"prompt\": \"a\", \"gold\": 7, \"answer\": \"7\"}\n");
  const Lines args = {"--input", file, "--json"};
  EXPECT_EQ(json_lines(reward_test(work, args).out).at(0)["answer"], "7");
  Lines other = args;
  other.insert(other.end(), {"--answer-key", "prompt"});
  EXPECT_EQ(json_lines(reward_test(work, other).out).at(0)["answer"], "a");
  // A column that a source compares with holds no answers: some are sampled.
  Lines compared = args;
  compared.insert(compared.end(), {"--set", "reward[0].column=answer"});
  const auto lines = json_lines(reward_test(work, compared).out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0]["answer"], "7");
  write_text(
      file,
      "{\"prompt\": \"a\", \"gold\": 7, \"answer\": \"7\"}\n{\"prompt\": \"b\", \"gold\": 1}\n");
  expect_error(reward_test(work, args), 3,
               "answers.jsonl:2: has no `answer`, which other lines have");
  write_text(file, "{\"prompt\": \"a\", \"gold\": 7, \"answer\": 7}\n");
  expect_error(reward_test(work, args), 3, "answers.jsonl:1: `answer` has to be a text");
  write_text(file, "{\"prompt\": \"a\", \"answer\": \"7\"}\n");
  expect_error(reward_test(work, args), 3, "answers.jsonl:1: the column `gold` is missing");
}

TEST(RewardTest, SamplesWhereThereAreNoAnswers) {
  const RewardsWorkspace work;
  const Lines reward = {"reward-test", work.recipe().string(), "--prompts", "3", "--json"};
  const Ended ended = run_leash(reward);
  expect_done(ended);
  const auto lines = json_lines(ended.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["prompt"], "alpha");
  EXPECT_GT(lines[0]["tokens"], 0);
  EXPECT_EQ(run_leash(reward).out.substr(0, 200), ended.out.substr(0, 200));
  expect_error(run_leash({"reward-test"}), 2, "a recipe is missing");
}

TEST(RewardTest, IsForTasksWithRewards) {
  const RewardsWorkspace work;
  write_text(work / "sft.yaml", "task: sft\nmodel: {path: model}\ndata: {train: prompts.jsonl}\n");
  expect_error(run_leash({"reward-test", (work / "sft.yaml").string()}), 2,
               "task: sft has no sources of reward to test");
}

}  // namespace
}  // namespace leash::testing
