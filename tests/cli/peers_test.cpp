// What leash writes, read by the programs that it is written for: TensorBoard, transformers and
// PEFT. Skipped where there is no Python that has them (LEASH_PEERS_PYTHON, or
// /opt/peers/bin/python).
#include <cstdlib>
#include <iostream>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

std::string peers_python() {
  const char* given = std::getenv("LEASH_PEERS_PYTHON");
  return given != nullptr ? given : "/opt/peers/bin/python";
}

// Whether that Python imports these packages.
bool has_packages(const std::string& packages) {
  if (!std::filesystem::exists(peers_python())) return false;
  const ProcessOptions options{.timeout_seconds = 300};
  return Process({peers_python(), "-c", "import " + packages}, options).wait().code == 0;
}

class PeersWorkspace : public Workspace {
 public:
  // Six steps of `recipe` (everything but model and run) with an evaluation at the last.
  void train(const std::string& recipe) const {
    write_text(*this / "recipe.yaml",
               recipe + "model: {path: model}\nrun: {threads: 1, report_to: [tensorboard]}\n");
    expect_done(run_leash(
        {"train", (*this / "recipe.yaml").string(), "--run-dir", (*this / "run").string()}));
  }
  // tests/golden/SCRIPT with its arguments, which exits with 0 when both sides agree.
  void expect_agreement(const std::string& script, Lines args) const {
    args.insert(args.begin(), {peers_python(), repository("tests/golden/" + script).string()});
    const Ended ended = Process(args, {.timeout_seconds = 300}).wait();
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    std::cout << ended.out;  // the largest difference
  }
};

TEST(Peers, TensorBoardReadsOurEvents) {
  if (!has_packages("tensorboard")) GTEST_SKIP() << "no Python with tensorboard";
  const PeersWorkspace work;
  write_text(work / "train.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"text\": \"3\"}\n");
  work.train(
      "task: sft\nlora: {target_modules: all-linear}\n"
      "data: {train: train.jsonl, eval: train.jsonl}\n"
      "sft: {max_steps: 6, eval_strategy: steps, eval_steps: 3, learning_rate: 1.0e-3}\n");
  work.expect_agreement("check_tensorboard.py", {(work / "run").string()});
}

TEST(Peers, PeftScoresPairsAsOurRewardModel) {
  if (!has_packages("peft, transformers, torch")) GTEST_SKIP() << "no Python with PEFT";
  const PeersWorkspace work;
  std::string pairs;
  for (int i = 0; i < 12; ++i) {
    const std::string word = std::string(1 + i % 4, static_cast<char>('a' + i));
    pairs += Json{{"prompt", "Say " + std::to_string(i / 2) + ": "},
                  {"chosen", word + " yes"},
                  {"rejected", "no " + word}}
                 .dump() +
             "\n";
  }
  write_text(work / "pairs.jsonl", pairs);
  work.train(
      "task: reward\nlora: {r: 4, target_modules: all-linear, task_type: SEQ_CLS}\n"
      "data: {train: pairs.jsonl, eval: pairs.jsonl}\n"
      "reward: {max_steps: 6, per_device_train_batch_size: 4, learning_rate: 1.0e-2,\n"
      "         eval_strategy: steps, eval_steps: 6}\n");
  work.expect_agreement("check_reward_adapter.py", {work.model().string(), (work / "run").string(),
                                                    (work / "pairs.jsonl").string(), "6"});
}

TEST(Peers, PeftClassifiesAsOurClassifier) {
  if (!has_packages("peft, transformers, torch")) GTEST_SKIP() << "no Python with PEFT";
  const PeersWorkspace work;
  const Lines names = {"bird", "cat", "dog"};
  std::string texts;
  for (int i = 0; i < 18; ++i) {
    const std::string& name = names[static_cast<size_t>(i % 3)];
    texts +=
        Json{{"text", std::string(1 + i % 5, 'x') + " " + name[0]}, {"label", name}}.dump() + "\n";
  }
  write_text(work / "texts.jsonl", texts);
  work.train(
      "task: classification\n"
      "lora: {r: 4, target_modules: all-linear, task_type: SEQ_CLS,\n"
      "       trainable: [model.layers.1.mlp.down_proj, model.norm]}\n"
      "data: {train: texts.jsonl, eval: texts.jsonl}\n"
      "classification: {max_steps: 6, per_device_train_batch_size: 6, learning_rate: 1.0e-2,\n"
      "                 eval_strategy: steps, eval_steps: 6}\n");
  work.expect_agreement(
      "check_classification_adapter.py",
      {work.model().string(), (work / "run").string(), (work / "texts.jsonl").string(), "6"});
}

}  // namespace
}  // namespace leash::testing
