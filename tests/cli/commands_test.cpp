// Versions, help, slips of the keyboard, and exit codes.
#include "tests/cli/workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const Lines kCommands = {"train",    "generate",   "chat",   "score", "evaluate",    "kl-report",
                         "tokenize", "render",     "config", "plan",  "serve",       "init",
                         "doctor",   "completion", "man",    "label", "reward-test", "sweep"};

TEST(Commands, VersionHasBuildFacts) {
  const Ended ended = run_leash({"--version"});
  expect_done(ended);
  EXPECT_THAT(ended.out, StartsWith("leash "));
  for (const char* part : {"git ", "LibTorch ", "CPU capability ", "1 threads"}) {
    EXPECT_THAT(ended.out, HasSubstr(part));
  }
  EXPECT_EQ(ended.err, "");
}

TEST(Commands, HelpOfLabelling) {
  const Ended help = run_leash({"label", "--help"});
  expect_done(help);
  EXPECT_THAT(help.out, StartsWith("Usage: leash label "));
  for (const char* part : {"Options:", "Examples:\n  ", "--pairs", "--merge", "--terminal"}) {
    EXPECT_THAT(help.out, HasSubstr(part));
  }
}

TEST(Commands, HelpNamesEveryCommandAndOption) {
  const Ended all = run_leash({"--help"});
  expect_done(all);
  for (const std::string& command : kCommands) {
    EXPECT_THAT(all.out, HasSubstr("\n  " + command + " "));
    const Ended help = run_leash({command, "--help"});
    expect_done(help);
    EXPECT_THAT(help.out, StartsWith("Usage: leash " + command + " "));
    EXPECT_THAT(help.out, HasSubstr("Options:"));
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  "));
    EXPECT_THAT(help.out, HasSubstr("--help"));
    EXPECT_EQ(help.err, "");
  }
  EXPECT_EQ(run_leash({"help", "score"}).out, run_leash({"score", "--help"}).out);
}

TEST(Commands, NothingAtAllPrintsTheOverviewAsAnError) {
  const Ended ended = run_leash({});
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, HasSubstr("Usage: leash COMMAND"));
}

TEST(Commands, SlipsGetSuggestions) {
  expect_error(run_leash({"tokenise"}), 2, "unknown command `tokenise` (did you mean `tokenize`?)");
  expect_error(run_leash({"trian"}), 2, "(did you mean `train`?)");
  expect_error(run_leash({"--verion"}), 2, "unknown option `--verion`");
  expect_error(run_leash({"xyzzy"}), 2, "unknown command `xyzzy` (see `leash --help`)");
  expect_error(run_leash({"generate", "--gredy"}), 2,
               "unknown option --gredy (did you mean `--greedy`?) (see `leash generate --help`)");
  expect_error(run_leash({"generate", "--max-new", "3"}), 2, "unknown option --max-new");
  expect_error(run_leash({"train", "a", "b"}), 2, "too many words");
  expect_error(run_leash({"generate", "--top-k", "many"}), 2, "--top-k");
  expect_error(run_leash({"config", "chekc", "x.yaml"}), 2, "(did you mean `check`?)");
  expect_error(run_leash({"config"}), 2, "show, check or docs");
}

TEST(Commands, BadOptionsAreReportedTogether) {
  const Ended ended =
      run_leash({"generate", "--temperature", "-1", "--top-p", "0", "--min-p", "2", "--top-k", "-3",
                 "--seed", "-1", "--max-new-tokens", "0", "--stop", ""});
  expect_error(ended, 2, "--temperature must be 0 (greedy) or more, not -1");
  for (const char* part : {"--top-p must be above 0", "--min-p must be 0", "--top-k must be 0",
                           "--seed must be 0 or more", "--max-new-tokens must be at least 1",
                           "--stop must not be empty", "exactly one of --prompt and --input"}) {
    EXPECT_THAT(ended.err, HasSubstr(part));
  }
  const Ended greedy = run_leash({"generate", "--prompt", "x", "--greedy", "--temperature", "0.5"});
  expect_error(greedy, 2, "--temperature has no effect with --greedy");
  expect_error(run_leash({"kl-report"}), 2, "--policy is missing");
  expect_error(run_leash({"score", "--input", "x"}), 2, "--model is missing");
  expect_error(run_leash({"evaluate", "x.yaml"}), 2, "--run-dir is missing");
}

TEST(Commands, BadModelsAndFilesExitWithThree) {
  const Workspace work;
  const Lines prompt = {"--prompt", "x"};
  const auto generate = [&](const std::filesystem::path& model) {
    return run_leash({"generate", "--model", model.string(), "--prompt", "x"});
  };
  expect_error(generate(work / "nowhere"), 3, "nowhere");
  std::filesystem::create_directories(work / "empty");
  expect_error(generate(work / "empty"), 3, "config.json");
  write_text(work / "noise.gguf", "not a model at all, but long enough to be looked at");
  expect_error(generate(work / "noise.gguf"), 3, "noise.gguf");
  const std::string weights = read_text(work.model() / "model.safetensors");
  write_text(work.model() / "model.safetensors", weights.substr(0, weights.size() / 2));
  expect_error(generate(work.model()), 3, "model.safetensors");
  std::filesystem::remove(work.model() / "model.safetensors");
  expect_error(generate(work.model()), 3, "model.safetensors");
  write_text(work.model() / "model.safetensors", weights);
  std::filesystem::remove(work.model() / "tokenizer.json");
  expect_error(generate(work.model()), 3, "tokenizer.json");
}

TEST(Commands, AFullDiskBehindStandardOutputIsNoSuccess) {
  const Workspace work;
  ProcessOptions options;
  options.max_file_bytes = 8;
  const Ended ended = work.run("generate", {"--prompt", "x", "--json"}, options);
  EXPECT_EQ(ended.code, 1);
}

TEST(Config, ShowsChecksAndDocuments) {
  const ScratchFolder scratch;
  const std::string recipe = repository("configs/recipes/demo.yaml").string();
  const Ended shown = run_leash({"config", "show", recipe, "--set", "ppo.kl_coef=0.25"});
  expect_done(shown);
  EXPECT_THAT(shown.out, StartsWith("task: ppo\n"));
  EXPECT_THAT(shown.out, HasSubstr("\n  kl_coef: 0.25\n"));
  write_text(scratch / "shown.yaml", shown.out);
  EXPECT_EQ(run_leash({"config", "show", (scratch / "shown.yaml").string()}).out, shown.out);
  const Ended checked = run_leash({"config", "check", recipe});
  expect_done(checked);
  EXPECT_EQ(checked.out, "");
  const Ended docs = run_leash({"config", "docs"});
  expect_done(docs);
  EXPECT_THAT(docs.out, StartsWith("# Settings of a recipe\n"));
}

TEST(Config, CheckLooksAtFilesAndModules) {
  const std::string recipe = repository("configs/recipes/demo.yaml").string();
  const Ended ended = run_leash({"config", "check", recipe, "--set", "lora.target_modules=[q_prj]",
                                 "--set", "data={train: /nowhere.jsonl, eval: /neither.jsonl}"});
  expect_error(ended, 2, "data.train: /nowhere.jsonl does not exist");
  EXPECT_THAT(ended.err, HasSubstr("data.eval: /neither.jsonl does not exist"));
  EXPECT_THAT(ended.err, HasSubstr("q_prj"));
  expect_error(run_leash({"config", "check", recipe, "--set", "model.path=/nowhere"}), 2,
               "/nowhere");
}

TEST(Config, ProblemsAreListedWithTheirLines) {
  const ScratchFolder scratch;
  write_text(scratch / "bad.yaml",
             "task: ppo\nppo:\n  cliprang: 0.1\n  gamma: 7\nmodel: {dtype: float33}\n");
  const std::string file = (scratch / "bad.yaml").string();
  for (const char* command : {"check", "show"}) {
    const Ended ended = run_leash({"config", command, file, "--set", "run.sed=1"});
    expect_error(ended, 2, file + ":4: ppo.gamma: has to be at least 0 and at most 1, not 7");
    EXPECT_THAT(ended.err, HasSubstr(file + ":3: ppo.cliprang: there is no such setting (did you "
                                            "mean `cliprange`?)"));
    EXPECT_THAT(ended.err, HasSubstr(file + ":5: model.dtype: has to be one of "));
    EXPECT_THAT(ended.err, HasSubstr("--set run.sed=1: run.sed: there is no such setting (did you "
                                     "mean `seed`?)"));
  }
  expect_error(run_leash({"config", "check", (scratch / "none.yaml").string()}), 2,
               "none.yaml: there is no such recipe");
  expect_error(run_leash({"config", "check"}), 2, "a recipe is missing");
  expect_error(run_leash({"train", (scratch / "none.yaml").string()}), 2, "no such recipe");
}

}  // namespace
}  // namespace leash::testing
