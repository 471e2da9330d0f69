// leash plan: the numbers of a tiny recipe, a model that nobody has, and what is refused.
#include <sys/resource.h>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

Json plan_json(const Lines& more, const RunWorkspace& work) {
  Lines args = {"plan", work.recipe().string(), "--json"};
  args.insert(args.end(), more.begin(), more.end());
  const Ended ended = run_leash(args);
  expect_done(ended);
  const auto lines = json_lines(ended.out);
  EXPECT_EQ(lines.size(), 1u);
  return lines.empty() ? Json{} : lines[0];
}

TEST(Plan, SaysWhatARunSays) {
  const RunWorkspace work;
  const Ended planned = run_leash({"plan", work.recipe().string()});
  expect_done(planned);
  const Ended trained = work.train("run", {"--set", "ppo.total_episodes=8"});
  expect_done(trained);
  const std::string line = lines_of(planned.out).at(1);
  EXPECT_THAT(line, HasSubstr("trainable params: "));
  EXPECT_THAT(trained.out + trained.err, HasSubstr(line));
  EXPECT_THAT(planned.out, HasSubstr("one rank: nothing is sent"));
}

TEST(Plan, JsonOfATinyRecipe) {
  const RunWorkspace work;
  const Json one = plan_json({"--longest", "14"}, work);
  EXPECT_EQ(one["task"], "ppo");
  EXPECT_EQ(one["base_parameters"], 259 * 32 + 2 * 9280 + 32);
  // Rank 4: q and o 64, k and v 48, gate, up and down 96 numbers of each rank.
  EXPECT_EQ(one["trainable_parameters"], 2 * 4 * (2 * 64 + 2 * 48 + 3 * 96));
  EXPECT_EQ(one["sent_bytes"], 0);
  EXPECT_TRUE(one["fit"].is_null());
  const Json two = plan_json({"--longest", "14", "--ranks", "2", "--memory", "1"}, work);
  EXPECT_GT(two["sent_bytes"], 0);
  EXPECT_EQ(two["fit"]["fits"], true);
  EXPECT_EQ(two["fit"]["known_model"], "SmolLM2-135M");
  const Json more = plan_json({"--longest", "14", "--set", "ppo.micro_batch_tokens=200"}, work);
  EXPECT_GT(more["micro_batch_rows"], one["micro_batch_rows"]);
}

// 70 billion parameters: in float32 280 GB, planned within the memory of the program itself.
TEST(Plan, AModelThatIsNotThereIsPlannedInLittleMemory) {
  const RunWorkspace work;
  const Json plan = plan_json(
      {"--model-config", std::string(LEASH_SOURCE_DIR) + "/experiments/plan/llama-3.1-70b.json",
       "--ranks", "64", "--memory", "80"},
      work);
  EXPECT_EQ(plan["base_parameters"], 70553706496);
  EXPECT_EQ(plan["fit"]["fits"], false);
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  EXPECT_LT(usage.ru_maxrss, 600 * 1024);  // kB, of the largest child so far
}

TEST(Plan, BadInputIsSaidAtOnce) {
  const RunWorkspace work;
  const std::string recipe = work.recipe().string();
  const Ended options =
      run_leash({"plan", recipe, "--ranks", "0", "--memory", "-1", "--longest", "0"});
  expect_error(options, 2, "--ranks has to be between 1 and");
  EXPECT_THAT(options.err, HasSubstr("--memory has to be above 0"));
  EXPECT_THAT(options.err, HasSubstr("--longest has to be at least 1"));
  const Ended settings =
      run_leash({"plan", recipe, "--set", "ppo.cliprange=-1", "--set", "lora.r=0"});
  expect_error(settings, 2, "ppo.cliprange");
  EXPECT_THAT(settings.err, HasSubstr("lora.r"));
  expect_error(run_leash({"plan", recipe, "--set", "lora.r=4611686018427387904"}), 2,
               "lora.r: has to be at least 1 and at most 1000000000");
  expect_error(run_leash({"plan", recipe, "--longest", "4611686018427387904"}), 2,
               "--longest has to be at least 1 and at most 1000000000");
  expect_error(run_leash({"plan"}), 2, "a recipe is missing");
  expect_error(run_leash({"plan", recipe, "--set", "model.path=nowhere"}), 3, "no model at");
  expect_error(run_leash({"plan", recipe, "--set", "lora.target_modules=[nothing]"}), 2,
               "matches no module");
  write_text(work / "bad.json", "{\"model_type\": \"llama\"}");
  expect_error(run_leash({"plan", recipe, "--model-config", (work / "bad.json").string()}), 3,
               "bad.json");
}

}  // namespace
}  // namespace leash::testing
