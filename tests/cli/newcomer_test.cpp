// What a stranger meets first: init, doctor, completions, the manual, and how answers are drawn.
#include <fstream>

#include "tests/cli/workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Init, WritesARecipeThatTrainsAsItIs) {
  const Workspace work;
  const Ended ended =
      run_leash({"init", "mine", "--model", work.model().string()}, {.folder = work.path()});
  expect_done(ended);
  EXPECT_THAT(ended.out, HasSubstr("leash train mine/recipe.yaml"));
  const Ended check = run_leash({"config", "check", (work / "mine/recipe.yaml").string()});
  expect_done(check);
  const ProcessOptions inside{.folder = work / "mine"};
  const Ended trained = run_leash({"train", "recipe.yaml", "--run-dir", "run", "--set",
                                   "ppo.total_episodes=32", "--set", "rollout.response_length=4"},
                                  inside);
  expect_done(trained);
  EXPECT_TRUE(std::filesystem::exists(work / "mine/run/adapter/adapter_model.safetensors"));
  expect_error(run_leash({"init", "mine"}, {.folder = work.path()}), 2,
               "mine is there and not an empty folder");
  expect_error(run_leash({"init"}), 2, "leash init DIR");
}

TEST(Doctor, SaysWhatThisMachineIs) {
  const ScratchFolder cache;
  const Ended ended =
      run_leash({"doctor", "--quick"}, {.environment = {{"LEASH_CACHE", cache.path().string()}}});
  expect_done(ended);
  for (const char* part : {"leash ", "LibTorch ", "CPU ", "cores", "memory ", "GPUs ", "driver ",
                           "libtorch_cpu.so", "disk ", "To be mended:", "make setup"}) {
    EXPECT_THAT(ended.out, HasSubstr(part));
  }
  EXPECT_THAT(ended.out, Not(HasSubstr("GFLOP/s")));
}

TEST(ShellFiles, NameEveryCommandAndItsOptions) {
  for (const Lines& args :
       {Lines{"completion", "bash"}, Lines{"completion", "zsh"}, Lines{"man"}}) {
    const Ended ended = run_leash(args);
    expect_done(ended);
    EXPECT_EQ(ended.err, "");
    std::string text = ended.out;
    for (size_t at; (at = text.find("\\-")) != text.npos;) text.erase(at, 1);  // roff's hyphens
    for (const char* part : {"serve", "kl-report", "--max-connections", "--repetition-penalty"}) {
      EXPECT_THAT(text, HasSubstr(part)) << args[0];
    }
  }
  const ScratchFolder scratch;
  write_text(scratch / "leash.bash",
             run_leash({"completion", "bash"}).out +
                 "COMP_WORDS=(leash serve --max-b); COMP_CWORD=2; _leash; echo ${COMPREPLY[@]}\n"
                 "COMP_WORDS=(leash do); COMP_CWORD=1; _leash; echo ${COMPREPLY[@]}\n");
  Process shell({"/bin/bash", (scratch / "leash.bash").string()});
  EXPECT_EQ(shell.wait().out, "--max-body\ndoctor\n");
  expect_error(run_leash({"completion", "fish"}), 2, "bash and zsh, not for `fish`");
}

// Where the user says nothing the checkpoint's authors do, and what is in effect is said.
TEST(SamplingDefaults, AreTheCheckpoints) {
  const Workspace work;
  const auto said = [&](const std::string& command, Lines args) {
    if (command == "generate") args.insert(args.end(), {"--prompt", "Hi"});
    args.insert(args.end(), {"--max-new-tokens", "2"});
    return work.run(command, args, {.input = "Hi\n"}).err;
  };
  EXPECT_EQ(said("generate", {}), "sampling: temperature 1\n");
  EXPECT_EQ(said("chat", {}), "sampling: temperature 0.7, top-p 0.9\n");
  EXPECT_EQ(said("chat", {"--temperature", "0.5"}), "sampling: temperature 0.5, top-p 0.9\n");
  EXPECT_EQ(said("chat", {"--greedy"}), "sampling: greedy\n");
  const auto advise = [&](const char* json) {
    write_text(work.model() / "generation_config.json", json);
  };
  advise("{\"eos_token_id\": 2}");
  EXPECT_EQ(said("chat", {}), "sampling: temperature 0.7, top-p 0.9\n") << "it says nothing";
  advise(
      "{\"do_sample\": true, \"temperature\": 0.6, \"top_k\": 20, \"repetition_penalty\": 1.05}");
  const char* advised = "sampling: temperature 0.6, top-k 20, repetition penalty 1.05\n";
  EXPECT_EQ(said("chat", {}), advised);
  EXPECT_EQ(said("generate", {}), advised);
  EXPECT_EQ(said("generate", {"--top-k", "0"}),
            "sampling: temperature 0.6, repetition penalty 1.05\n");
  advise("{\"do_sample\": false, \"temperature\": 0.6}");
  EXPECT_EQ(said("generate", {}), "sampling: temperature 1\n");
  advise("{\"top_p\": 1.5}");
  EXPECT_THAT(said("chat", {}), HasSubstr("'top_p' is out of range"));
}

}  // namespace
}  // namespace leash::testing
