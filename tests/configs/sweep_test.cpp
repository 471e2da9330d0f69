// The runs that a recipe's `sweep:` and the command line make.
#include "configs/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/errors.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::ScratchFolder;
using testing::write_text;

class SweepRecipe {
 public:
  explicit SweepRecipe(const std::string& section) {
    write_text(folder_ / "recipe.yaml",
               "task: sft\nmodel: {path: model}\ndata: {train: train.jsonl}\n"
               "sft: {max_steps: 4}\nrun: {seed: 7}\n" +
                   section);
  }
  Sweep load(const SweepOptions& options = {}) const {
    return load_sweep(folder_ / "recipe.yaml", {}, options);
  }
  std::string refusal(const SweepOptions& options = {}) const {
    try {
      (void)load(options);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing";
  }

 private:
  ScratchFolder folder_;
};

std::vector<std::string> names(const Sweep& sweep) {
  std::vector<std::string> all;
  for (const SweepRun& run : sweep.runs) all.push_back(run.name);
  return all;
}

const SftSetup& setup_of(const SweepRun& run) { return std::get<SftSetup>(run.experiment.setup); }

TEST(SweepValues, AreCutOutsideOfBracketsAndQuotes) {
  EXPECT_THAT(split_values("1,[a, b],'x,y',{k: 1, l: 2}"),
              ElementsAre("1", "[a, b]", "'x,y'", "{k: 1, l: 2}"));
  EXPECT_THAT(split_values("1e-4"), ElementsAre("1e-4"));
}

TEST(SweepRuns, AreEveryCombinationAndSeed) {
  const SweepRecipe recipe("sweep: {grid: {sft.learning_rate: [1e-4, 3e-4]}, seeds: 2}\n");
  const Sweep sweep = recipe.load({.grid = {"lora.r=4,8"}});
  EXPECT_THAT(names(sweep),
              ElementsAre("learning_rate=1e-4_r=4_seed=7", "learning_rate=1e-4_r=4_seed=8",
                          "learning_rate=1e-4_r=8_seed=7", "learning_rate=1e-4_r=8_seed=8",
                          "learning_rate=3e-4_r=4_seed=7", "learning_rate=3e-4_r=4_seed=8",
                          "learning_rate=3e-4_r=8_seed=7", "learning_rate=3e-4_r=8_seed=8"));
  const SweepRun& last = sweep.runs.back();
  EXPECT_EQ(setup_of(last).sft.learning_rate, 3e-4);
  EXPECT_EQ(setup_of(last).lora.r, 8);
  EXPECT_EQ(setup_of(last).run.seed, 8);
  EXPECT_THAT(last.settings, ElementsAre(Pair("sft.learning_rate", "3e-4"), Pair("lora.r", "8")));
}

TEST(SweepRuns, OfAListAreItsEntries) {
  const SweepRecipe recipe(
      "sweep:\n  list:\n    - {lora.r: 4, sft.learning_rate: 1e-4}\n    - {lora.r: 8}\n");
  const Sweep sweep = recipe.load();
  EXPECT_THAT(names(sweep), ElementsAre("r=4_learning_rate=1e-4", "r=8"));
  EXPECT_EQ(setup_of(sweep.runs[0]).lora.r, 4);
}

TEST(SweepRuns, DrawnAtRandomDependOnTheSeedAloneAndStayWithinBounds) {
  const std::string settings =
      "sweep:\n  budget: 40\n  random:\n    seed: 3\n    settings:\n"
      "      sft.learning_rate: {min: 1e-5, max: 1e-3, log: true}\n"
      "      lora.r: {min: 2, max: 5}\n      lora.lora_alpha: [8, 16]\n";
  const Sweep sweep = SweepRecipe(settings).load();
  ASSERT_EQ(sweep.runs.size(), 40u);
  std::map<int64_t, int64_t> ranks;
  int64_t below = 0;
  for (const SweepRun& run : sweep.runs) {
    const SftSetup& setup = setup_of(run);
    EXPECT_GE(setup.sft.learning_rate, 1e-5);
    EXPECT_LE(setup.sft.learning_rate, 1e-3);
    below += setup.sft.learning_rate < 1e-4 ? 1 : 0;
    ++ranks[setup.lora.r];
  }
  EXPECT_EQ(ranks.size(), 4u);  // 2, 3, 4, 5
  EXPECT_NEAR(static_cast<double>(below), 20, 12);
  // A smaller budget draws the first of them.
  std::string fewer = settings;
  fewer.replace(fewer.find("40"), 2, "10");
  const Sweep first = SweepRecipe(fewer).load();
  for (size_t i = 0; i < first.runs.size(); ++i) {
    EXPECT_EQ(first.runs[i].settings, sweep.runs[i].settings);
  }
}

TEST(SweepRuns, SaySpecificallyWhatIsWrong) {
  EXPECT_THAT(SweepRecipe("").refusal({.grid = {"sft.learning_rat=1,2"}}),
              HasSubstr("sft.learning_rat: there is no such setting"));
  EXPECT_THAT(SweepRecipe("").refusal({.grid = {"sft.max_steps"}}),
              HasSubstr("has to be section.field=value,value"));
  EXPECT_THAT(SweepRecipe("sweep: {grid: {lora.r: 8}}\n").refusal(),
              HasSubstr("recipe.yaml:6: sweep.grid.lora.r: has to be a list of values"));
  EXPECT_THAT(SweepRecipe("sweep: {gird: {lora.r: [8]}}\n").refusal(),
              HasSubstr("sweep.gird: there is no such setting (did you mean `grid`?)"));
  EXPECT_THAT(SweepRecipe("sweep: {seeds: 2, grid: {run.seed: [1]}}\n").refusal(),
              HasSubstr("run.seed: is what `seeds` counts on from"));
  EXPECT_THAT(SweepRecipe("sweep: {budget: 3}\n").refusal({.grid = {"lora.r=1,2,3,4"}}),
              HasSubstr("sweep.budget: is 3, and 4 settings come out"));
  EXPECT_THAT(SweepRecipe("sweep: {stop: {metric: loss}}\n").refusal(),
              HasSubstr("sweep.stop: needs both metric and worse_than_median_after"));
  EXPECT_THAT(
      SweepRecipe("sweep: {budget: 2, random: {settings: {lora.r: {min: 3, max: 3}}}}\n").refusal(),
      HasSubstr("sweep.random.settings.lora.r: needs min below max"));
}

TEST(SweepRuns, LongOrEqualNamesBecomeNumbers) {
  const SweepRecipe recipe("");
  EXPECT_THAT(names(recipe.load({.grid = {"lora.r=4,4"}})), ElementsAre("run-001", "run-002"));
  EXPECT_THAT(names(recipe.load({.grid = {"lora.target_modules=[q_proj],[q_proj, v_proj]"}})),
              ElementsAre("target_modules=-q_proj-", "target_modules=-q_proj--v_proj-"));
}

TEST(SweepSection, IsNoPartOfASingleRun) {
  const LoadedExperiment loaded = parse_experiment(
      "task: sft\nmodel: {path: model}\ndata: {train: t.jsonl}\nsweep: {seeds: 2}\n", "r.yaml",
      ".");
  EXPECT_THAT(loaded.warnings, ::testing::Contains("sweep: is read by `leash sweep` alone"));
  EXPECT_THAT(resolved_yaml(loaded.experiment), ::testing::Not(HasSubstr("sweep")));
}

}  // namespace
}  // namespace leash
