// leash train with task: sft, from JSON lines to an adapter that answers.
#include <fstream>

#include "tests/cli/run_workspace.h"

namespace leash::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class SftWorkspace : public RunWorkspace {
 public:
  SftWorkspace() {
    write_text(*this / "train.jsonl", samples(0, 24) + "{\"text\": \"\"}\n");
    write_text(*this / "held_out.jsonl", samples(24, 6));
    write_text(*this / "sft.yaml",
               "task: sft\n"
               "model: {path: model}\n"
               "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1}\n"
               "data: {train: train.jsonl, eval: held_out.jsonl, max_length: 12}\n"
               "sft: {max_steps: 6, per_device_train_batch_size: 8, learning_rate: 1.0e-2,\n"
               "      eval_strategy: steps, eval_steps: 3, eval_on_start: true, eval_answers: 2,\n"
               "      micro_batch_tokens: 40}\n"
               "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }
  Lines sft_args(const std::string& command, const std::string& folder,
                 const Lines& more = {}) const {
    Lines args = {command, (*this / "sft.yaml").string(), "--run-dir", (*this / folder).string()};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  Ended sft(const std::string& command, const std::string& folder, const Lines& more = {}) const {
    return run_leash(sft_args(command, folder, more));
  }

 private:
  static std::string samples(int first, int count) {
    std::string text;
    for (int i = first; i < first + count; ++i) {
      text += Json{{"prompt", "q" + std::to_string(i) + "? "},
                   {"completion", std::string(1 + i % 3, 'y') + "es"}}
                  .dump() +
              "\n";
    }
    return text;
  }
};

TEST(SftCommand, TrainsReportsAndEvaluates) {
  const SftWorkspace work;
  const std::string weights = read_text(work.model() / "model.safetensors");
  const Ended whole = work.sft("train", "whole");
  expect_done(whole);
  EXPECT_THAT(whole.err, HasSubstr("training data: 24 samples, "));
  EXPECT_THAT(whole.err, HasSubstr("1 dropped: no trained token left"));
  EXPECT_THAT(whole.err, HasSubstr("held-out data: 6 samples, "));
  EXPECT_THAT(whole.err, HasSubstr("trainable params: "));
  EXPECT_THAT(whole.err, HasSubstr("6 steps of 8 rows: 2.00 epochs"));
  EXPECT_THAT(whole.out, HasSubstr("held-out loss"));
  EXPECT_TRUE(read_text(work.model() / "model.safetensors") == weights);
  EXPECT_THAT(read_text(work / "whole/report.html"),
              AllOf(HasSubstr("Learning rate"), HasSubstr("Answers before and after")));
  const auto rows = json_lines(read_text(work / "whole/metrics.jsonl"));
  ASSERT_EQ(rows.size(), 7u);
  for (const char* key : {"step", "loss", "grad_norm", "learning_rate", "epoch"}) {
    EXPECT_TRUE(rows[6].contains(key)) << key;
  }
  EXPECT_LT(rows[6]["eval/loss"].get<double>(), rows[0]["eval/loss"].get<double>());

  // evaluate finds what the run found.
  for (const auto& [row, more] :
       std::vector<std::pair<size_t, Lines>>{{6, {"--json"}},
                                             {3, {"--json", "--snapshot", "3"}},
                                             {0, {"--json", "--snapshot", "0"}}}) {
    const Ended ended = work.sft("evaluate", "whole", more);
    expect_done(ended);
    const Json figures = json_lines(ended.out).at(0);
    EXPECT_EQ(figures["step"], rows[row]["step"]);
    EXPECT_EQ(figures["loss"], rows[row]["eval/loss"]);
    EXPECT_EQ(figures["perplexity"], rows[row]["eval/perplexity"]);
    EXPECT_EQ(figures["mean_token_accuracy"], rows[row]["eval/mean_token_accuracy"]);
    EXPECT_EQ(figures["tokens"], rows[row]["eval/tokens"]);
    EXPECT_EQ(figures["samples"], 6);
  }
  EXPECT_THAT(work.sft("evaluate", "whole").out, HasSubstr("held-out data: 6 samples"));

  // The adapter changes what is generated.
  const Lines ask = {"--prompt", "q7? ", "--greedy", "--max-new-tokens", "8", "--json"};
  Lines adapted = ask;
  adapted.insert(adapted.end(), {"--adapter", "whole/adapter"});
  const Ended plain = work.run("generate", ask), tuned = work.run("generate", adapted);
  expect_done(plain);
  expect_done(tuned);
  EXPECT_NE(json_lines(plain.out).at(0)["logprobs"], json_lines(tuned.out).at(0)["logprobs"]);
}

// All bad lines of both files, before the weights are read: this model has none that fit.
TEST(SftCommand, BadDataIsNamedByLineBeforeTheModelIsLoaded) {
  const SftWorkspace work;
  write_tiny_folder(work.model(), tiny_byte_options(),
                    [](NamedTensors& tensors) { tensors.pop_back(); });
  EXPECT_THAT(work.sft("train", "run").err, HasSubstr("has no tensor"));
  std::ofstream(work / "train.jsonl", std::ios::app) << "{\"prompt\": \"a\"}\nnot json\n";
  write_text(work / "held_out.jsonl", "{\"text\": 5}\n");
  const Ended ended = work.sft("train", "other");
  expect_error(ended, 3, "train.jsonl:26: needs either `text`");
  EXPECT_THAT(ended.err, HasSubstr("train.jsonl:27: is not valid JSON"));
  EXPECT_THAT(ended.err, HasSubstr("held_out.jsonl:1: `text` has to be a text"));
  EXPECT_THAT(ended.err, Not(HasSubstr("has no tensor")));
}

TEST(SftCommand, NarrowTypesUnderOtherNamesAreExplained) {
  const SftWorkspace work;
  const auto with = [&](const std::string& setting) {
    return work.sft("train", "run", {"--set", setting});
  };
  expect_error(with("sft.fp16=true"), 2, "it is `model.dtype: float16` here");
  expect_error(with("model.dtype=fp16"), 2, "it is `float16` here");
  expect_error(work.run("generate", {"--prompt", "x", "--dtype", "fp16"}), 2,
               "it is `float16` here");
  expect_error(with("sft.bf16=true"), 2, "it is `model.dtype: bfloat16` here");
  expect_error(with("model.dtype=bf16"), 2, "it is `bfloat16` here");
}

// Trained, evaluated with answers, asked and planned in float16.
TEST(SftCommand, Float16) {
  const SftWorkspace work;
  const Lines narrow = {"--set", "model.dtype=float16", "--set", "sft.fp16_init_scale=1e8",
                        "--set", "sft.max_steps=16"};
  const Ended whole = work.sft("train", "whole", narrow);
  expect_done(whole);
  EXPECT_THAT(whole.err, HasSubstr("the update was skipped, and it goes on with 5e+07"));
  const auto lines = json_lines(read_text(work / "whole/metrics.jsonl"));
  EXPECT_EQ(lines.at(1)["loss_scale"], 1e8);
  EXPECT_EQ(lines.at(1)["step_skipped"], 1);
  EXPECT_TRUE(lines.at(1)["grad_norm"].is_null());
  EXPECT_EQ(lines.at(2)["loss_scale"], 5e7);
  EXPECT_EQ(lines.at(16)["step_skipped"], 0);
  EXPECT_LT(lines.at(16)["loss"].get<double>(), 0.9 * lines.at(1)["loss"].get<double>());
  EXPECT_THAT(work.sft("evaluate", "whole", narrow).out, HasSubstr("nats per token"));
  const Ended text = work.run("generate", {"--prompt", "3 + 4", "--dtype", "float16", "--adapter",
                                           (work / "whole/adapter").string(), "--json",
                                           "--max-new-tokens", "3", "--greedy"});
  expect_done(text);
  EXPECT_FALSE(json_lines(text.out).at(0)["token_ids"].empty());
  const Ended plan = run_leash({"plan", (work / "sft.yaml").string(), "--dtype", "float16"});
  expect_done(plan);
  EXPECT_THAT(plan.out, HasSubstr("float16"));
}

// A machine without instructions for it says so with both figures; another may.
TEST(SftCommand, Bfloat16IsMeasured) {
  const SftWorkspace work;
  const Ended ended = work.sft("train", "run", {"--set", "model.dtype=bfloat16"});
  expect_done(ended);
  const std::string cpu = read_text("/proc/cpuinfo");
  const bool slow =
      cpu.find("avx512_bf16") == std::string::npos && cpu.find("amx_bf16") == std::string::npos;
  const bool said = ended.err.find("GFLOP/s in it and ") != std::string::npos;
  EXPECT_TRUE(said || !slow) << ended.err;
  EXPECT_THAT(work.sft("train", "wide").err, Not(HasSubstr("GFLOP/s")));
}

}  // namespace
}  // namespace leash::testing
