// `--set a.b=c`, and what relative paths belong to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/configs/recipes.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using ::testing::ElementsAre;

TEST(Overrides, ReplaceAddAndReachIntoLists) {
  const PpoSetup setup = setup_of(
      kLeast + "ppo: {kl_coef: 0.1}\n",
      {"ppo.kl_coef=0.2", "ppo.gamma=0.5", "reward[0].weight=2", "reward[0].parameters.tolerance=3",
       "lora.target_modules=[q_proj, v_proj, o_proj]", "lora.rank_pattern={q_proj: 4}",
       "run.report_to=[tensorboard]", "rollout.stop_token=null", "critic={kind: adapter}",
       "data.shuffle=false", "rollout.stop_texts=['a, b', \"\\n\"]"});
  EXPECT_EQ(setup.ppo.kl_coef, 0.2);
  EXPECT_EQ(setup.ppo.gamma, 0.5);
  EXPECT_EQ(setup.reward[0].weight, 2.0);
  EXPECT_EQ(setup.reward[0].parameters.at("tolerance"), 3.0);
  EXPECT_EQ(setup.reward[0].parameters.at("target"), 5.0);
  EXPECT_EQ(setup.lora.target_modules, StringOrList(Lines{"q_proj", "v_proj", "o_proj"}));
  EXPECT_EQ(setup.lora.rank_pattern.at("q_proj"), 4);
  EXPECT_EQ(setup.run.report_to.size(), 1u);
  EXPECT_EQ(setup.rollout.stop_token, std::nullopt);
  EXPECT_EQ(setup.critic.kind, CriticKind::adapter);
  EXPECT_FALSE(setup.data.shuffle);
  EXPECT_THAT(setup.rollout.stop_texts, ElementsAre("a, b", "\n"));
}

TEST(Overrides, TheLastOneWinsAndAnEqualsSignBelongsToTheValue) {
  const PpoSetup setup = setup_of(
      kLeast, {"run.seed=1", "run.seed=2", "rollout.stop_texts=[a=b]", "run.output_dir=/x=y"});
  EXPECT_EQ(setup.run.seed, 2);
  EXPECT_THAT(setup.rollout.stop_texts, ElementsAre("a=b"));
  EXPECT_EQ(*setup.run.output_dir, "/x=y");
}

TEST(Overrides, MakeAWholeRecipe) {
  const PpoSetup setup =
      setup_of("", {"task=ppo", "data.train=/p.jsonl", "reward=[{kind: model, path: smollm2}]"});
  EXPECT_EQ(setup.data.train, "/p.jsonl");
  EXPECT_EQ(setup.reward[0].path->name, "smollm2");
}

TEST(Overrides, BadOnesAreAllNamed) {
  const std::string shape = ": has to be section.field=value";
  const std::string none = ": there is no such entry (those of a list are reward[0], reward[1], …)";
  EXPECT_THAT(
      problems_of(kLeast + "critic: 5\n",
                  {"ppo.kl_coef", "=3", "ppo..gamma=1", ".ppo=1", "ppo.=1", "[0].x=1",
                   "reward[-1].weight=1", "reward[a].weight=1", "reward[0]weight=1", "reward[0=1",
                   "reward[99999999999999999999].weight=1", "reward[1].weight=1", "reward.weight=1",
                   "task.x=1", "critic.kind=shared", "ppo.gamma=[1"}),
      ElementsAre("--set ppo.kl_coef" + shape, "--set =3" + shape, "--set ppo..gamma=1" + shape,
                  "--set .ppo=1" + shape, "--set ppo.=1" + shape, "--set [0].x=1" + shape,
                  "--set reward[-1].weight=1" + shape, "--set reward[a].weight=1" + shape,
                  "--set reward[0]weight=1" + shape, "--set reward[0=1" + shape,
                  "--set reward[99999999999999999999].weight=1" + shape,
                  "--set reward[1].weight=1: reward[1].weight" + none,
                  "--set reward.weight=1: reward.weight" + none, "--set task.x=1: task.x" + none,
                  "--set critic.kind=shared: critic.kind" + none,
                  ::testing::StartsWith("--set ppo.gamma=[1: is not valid YAML: "),
                  "r.yaml:4: critic: has to be a map of settings, not `5`"));
}

TEST(Overrides, NumbersNearTheirLimitsAreRefused) {
  EXPECT_THAT(
      problems_of(kLeast,
                  {"ppo.total_episodes=9223372036854775800", "run.threads=1025",
                   "lanes.threads_per_lane=100000", "lora.r=4611686018427387904",
                   "lora.rank_pattern={q_proj: 4611686018427387904}", "ppo.learning_rate=1e400"}),
      ::testing::UnorderedElementsAre(
          ::testing::HasSubstr("ppo.total_episodes: has to be at least 1 and at most 1000000000"),
          ::testing::HasSubstr("run.threads: has to be at least 0 and at most 1024, not 1025"),
          ::testing::HasSubstr("lanes.threads_per_lane: has to be at least 0 and at most 1024"),
          ::testing::HasSubstr("lora.r: has to be at least 1 and at most 1000000000"),
          ::testing::HasSubstr("lora.rank_pattern.q_proj: has to be"),
          ::testing::HasSubstr("ppo.learning_rate: `1e400` is beyond what a number can hold")));
}

TEST(Overrides, WrongValuesNameTheOverride) {
  EXPECT_THAT(problems_of(kLeast, {"ppo.gamme=1", "ppo.gamma=2", "lora.target_modules={a: b}"}),
              ElementsAre("--set lora.target_modules={a: b}: lora.target_modules: has to be a text "
                          "or a list, not a map",
                          "--set ppo.gamma=2: ppo.gamma: has to be at least 0 and at most 1, not 2",
                          "--set ppo.gamme=1: ppo.gamme: there is no such setting (did you mean "
                          "`gamma`?)"));
}

TEST(Overrides, ASyntaxErrorInTheRecipeIsNotBuriedByThem) {
  const Lines problems = problems_of("task: [\n", {"task=ppo", "ppo.x"});
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_THAT(problems[0], ::testing::StartsWith("r.yaml:"));
  EXPECT_EQ(problems[1], "--set ppo.x: has to be section.field=value");
}

// Relative paths belong to the YAML's folder, those of --set to the working folder.
TEST(Paths, BelongToWhereTheyWereWritten) {
  const ScratchFolder scratch;
  write_text(scratch / "sub/r.yaml",
             "task: ppo\nmodel: {path: ../m}\nlora: {path: a}\nreference: {kind: model, path: r}\n"
             "critic: {kind: separate, path: c}\nreward: [{kind: model, path: w}]\n"
             "data: {train: ./t.jsonl, eval: /abs/e.jsonl}\nrun: {output_dir: out}\n");
  const auto load = [&](const Lines& overrides) {
    return std::get<PpoSetup>(load_experiment(scratch / "sub/r.yaml", overrides).experiment.setup);
  };
  const PpoSetup setup = load({});
  EXPECT_EQ(setup.model.path.name, (scratch / "m").string());
  EXPECT_EQ(*setup.lora.path, scratch / "sub/a");
  EXPECT_EQ(setup.reference.path->name, (scratch / "sub/r").string());
  EXPECT_EQ(setup.critic.path->name, (scratch / "sub/c").string());
  EXPECT_EQ(setup.reward[0].path->name, (scratch / "sub/w").string());
  EXPECT_EQ(setup.data.train, scratch / "sub/t.jsonl");
  EXPECT_EQ(*setup.data.eval, "/abs/e.jsonl");
  EXPECT_EQ(*setup.run.output_dir, scratch / "sub/out");

  const auto here = std::filesystem::current_path();
  const auto resolved = [&](const Lines& overrides) {
    const PpoSetup read = std::get<PpoSetup>(
        parse_experiment(
            resolved_yaml(load_experiment(scratch / "sub/r.yaml", overrides).experiment), "x", "/y")
            .experiment.setup);
    return read;
  };
  const PpoSetup overridden =
      resolved({"data.train=t.jsonl", "model.path=m", "reward[0].path=w", "run.output_dir=o"});
  EXPECT_EQ(overridden.data.train, here / "t.jsonl");
  EXPECT_EQ(overridden.model.path.name, (here / "m").string());
  EXPECT_EQ(overridden.reward[0].path->name, (here / "w").string());
  EXPECT_EQ(*overridden.run.output_dir, here / "o");
  EXPECT_EQ(*overridden.lora.path, scratch / "sub/a");
}

TEST(Paths, ARecipeNamedWithoutAFolderBelongsToTheWorkingFolder) {
  const ScratchFolder scratch;
  write_text(scratch / "r.yaml", kLeast);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(scratch.path());
  const std::string resolved = resolved_yaml(load_experiment("r.yaml").experiment);
  std::filesystem::current_path(before);
  EXPECT_THAT(resolved, ::testing::HasSubstr("train: " + (scratch / "prompts.jsonl").string()));
}

// The first pattern that fits decides, so the order is kept, in what is written back as well.
TEST(Overrides, PatternsKeepTheirOrder) {
  const Experiment experiment =
      parse_experiment(kLeast, "r.yaml", "/r", {"lora.rank_pattern={q_proj: 4, '.*': 2, a: 1}"})
          .experiment;
  const auto& patterns = std::get<PpoSetup>(experiment.setup).lora.rank_pattern;
  EXPECT_EQ(patterns, (OrderedMap<int64_t>{{"q_proj", 4}, {".*", 2}, {"a", 1}}));
  const Experiment again = parse_experiment(resolved_yaml(experiment), "r.yaml", "/r").experiment;
  EXPECT_EQ(std::get<PpoSetup>(again.setup).lora.rank_pattern, patterns);
}

}  // namespace
}  // namespace leash::testing
