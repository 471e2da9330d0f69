// A run's folder from somebody else: what its own recipe would start.
#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

TEST(RunCommands, AreAskedForWhereNoRecipeIsNamed) {
  const RunWorkspace work;
  const auto mark = work / "mark", theirs = work / "theirs";
  const std::string command = "touch " + mark.string() + "; sed s/.*/1/";
  const Ended shown = run_leash({"config", "show", work.recipe().string(), "--set",
                                 "reward=[{kind: command, command: \"" + command + "\"}]"});
  expect_done(shown);
  std::filesystem::create_directory(theirs);
  write_text(theirs / "resolved.yaml", shown.out);
  const auto evaluate = [&](Lines args) {
    args.insert(args.begin(), "evaluate");
    args.insert(args.end(), {"--run-dir", theirs.string(), "--snapshot", "0", "--json"});
    return run_leash(args);
  };
  const Ended refused = evaluate({});
  expect_error(refused, 2, "--run-commands");
  EXPECT_THAT(refused.err, HasSubstr(command));
  expect_error(evaluate({"--set", "data.shuffle=false"}), 2, "--run-commands");
  EXPECT_FALSE(std::filesystem::exists(mark));
  expect_done(evaluate({"--run-commands"}));
  EXPECT_TRUE(std::filesystem::remove(mark));
  expect_done(evaluate({(theirs / "resolved.yaml").string()}));
  EXPECT_TRUE(std::filesystem::exists(mark));
}

}  // namespace
}  // namespace leash::testing
