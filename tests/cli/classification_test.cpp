// leash train with task: classification, from texts to probabilities.
#include <cmath>

#include "tests/cli/run_workspace.h"
#include "tests/rl/byte_tokenizer.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

class ClassificationWorkspace : public RunWorkspace {
 public:
  ClassificationWorkspace() {
    write_text(*this / "train.jsonl", texts(0, 24));
    write_text(*this / "held_out.jsonl", texts(24, 12));
    write_text(*this / "classes.yaml",
               "task: classification\n"
               "model: {path: model}\n"
               "lora: {r: 4, lora_alpha: 8, target_modules: all-linear, lora_dropout: 0.1,\n"
               "       trainable: [model.layers.1.mlp.down_proj, model.norm]}\n"
               "data: {train: train.jsonl, eval: held_out.jsonl}\n"
               "classification: {max_steps: 6, per_device_train_batch_size: 4, eval_steps: 3,\n"
               "  learning_rate: 5.0e-3, eval_strategy: steps, eval_on_start: true,\n"
               "  eval_answers: 2, micro_batch_tokens: 40, label_smoothing_factor: 0.05}\n"
               "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n");
  }
  Ended with_recipe(const std::string& command, const std::string& folder,
                    const Lines& more = {}) const {
    Lines args = {command, (*this / "classes.yaml").string(), "--run-dir",
                  (*this / folder).string()};
    args.insert(args.end(), more.begin(), more.end());
    return run_leash(args);
  }

 private:
  static std::string texts(int first, int count) {
    const Lines names = {"bird", "cat", "dog"};
    std::string lines;
    for (int i = first; i < first + count; ++i) {
      const std::string& name = names[static_cast<size_t>(i % 3)];
      lines += Json{{"text", std::string(static_cast<size_t>(1 + i % 5), 'x') + name[0]},
                    {"label", name}}
                   .dump() +
               "\n";
    }
    return lines;
  }
};

TEST(ClassificationCommand, TrainsEvaluatesAndScores) {
  const ClassificationWorkspace work;
  const Ended whole = work.with_recipe("train", "whole");
  expect_done(whole);
  EXPECT_THAT(whole.out, HasSubstr("macro F1"));
  EXPECT_THAT(whole.err, HasSubstr("24 texts, "));
  EXPECT_THAT(whole.err, HasSubstr("bird 8, cat 8, dog 8"));
  EXPECT_THAT(read_text(work / "whole/report.html"), HasSubstr("Macro F1"));
  const auto rows = json_lines(read_text(work / "whole/metrics.jsonl"));
  ASSERT_EQ(rows.size(), 7u);
  for (const char* key : {"loss", "accuracy", "learning_rate", "grad_norm", "epoch"}) {
    EXPECT_TRUE(rows[6].contains(key)) << key;
  }

  const Ended newest = work.with_recipe("evaluate", "whole", {"--json"});
  expect_done(newest);
  const Json figures = json_lines(newest.out).at(0);
  EXPECT_EQ(figures["step"], 6);
  EXPECT_EQ(figures["texts"], 12);
  EXPECT_EQ(figures["accuracy"]["mean"], rows[6]["eval/accuracy"]);
  EXPECT_EQ(figures["macro_f1"], rows[6]["eval/macro_f1"]);
  EXPECT_EQ(figures["loss"], rows[6]["eval/loss"]);
  EXPECT_EQ(figures["classes"].size(), 3u);
  const Json before =
      json_lines(work.with_recipe("evaluate", "whole", {"--json", "--snapshot", "0"}).out).at(0);
  EXPECT_EQ(before["loss"], rows[0]["eval/loss"]);
  EXPECT_LT(figures["loss"].get<double>(), before["loss"].get<double>());
  EXPECT_THAT(work.with_recipe("evaluate", "whole").out, HasSubstr("precision"));
  expect_error(work.with_recipe("evaluate", "whole", {"--set", "data.labels=[cat, bird, dog]"}), 3,
               "its classes are bird, cat, dog; those of this recipe are cat, bird, dog");

  // The held-out texts again, by the adapter alone.
  const Ended scored = work.run("score", {"--adapter", (work / "whole/adapter").string(), "--input",
                                          (work / "held_out.jsonl").string(), "--json"});
  expect_done(scored);
  const auto lines = json_lines(scored.out);
  ASSERT_EQ(lines.size(), 12u);
  const Json evaluated = Json::parse(read_text(work / "whole/evaluations/step-6.json"));
  for (size_t i = 0; i < lines.size(); ++i) {
    const Json& text = evaluated["texts"][i];
    const std::string label = evaluated["classes"][text["label"].get<size_t>()];
    EXPECT_EQ(lines[i]["label"], evaluated["classes"][text["predicted"].get<size_t>()]);
    EXPECT_NEAR(std::log(lines[i]["probabilities"][label].get<double>()),
                -text["nll"].get<double>(), 1e-5);
    double sum = 0;
    for (const auto& [name, probability] : lines[i]["probabilities"].items()) {
      sum += probability.get<double>();
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

// A checkpoint that names its classes, as transformers saves one: its names in its order, in
// training, evaluation and scoring.
TEST(ClassificationCommand, ACheckpointsClassesHold) {
  const ClassificationWorkspace work;
  TinyOptions options = tiny_byte_options();
  options.num_labels = 3;
  write_tiny_folder(work / "named", options);
  Json config = Json::parse(read_text(work / "named/config.json"));
  config["id2label"] = {{"0", "dog"}, {"1", "bird"}, {"2", "cat"}};
  write_text(work / "named/config.json", config.dump());
  const Lines named = {"--set", "model.path=" + (work / "named").string()};
  Lines one_step = named;
  one_step.insert(one_step.end(), {"--set", "classification.max_steps=3"});
  const Ended trained = work.with_recipe("train", "run", one_step);
  expect_done(trained);
  EXPECT_THAT(trained.err, HasSubstr("dog 8, bird 8, cat 8"));
  const Json labels = Json::parse(read_text(work / "run/adapter/labels.json"));
  EXPECT_EQ(labels["id2label"], config["id2label"]);

  // The held-out labels as numbers in that order say the same.
  Lines evaluate = named;
  evaluate.push_back("--json");
  const Ended by_name = work.with_recipe("evaluate", "run", evaluate);
  expect_done(by_name);
  const Json numbers = {{"dog", 0}, {"bird", 1}, {"cat", 2}};
  std::string numbered;
  for (Json line : json_lines(read_text(work / "held_out.jsonl"))) {
    line["label"] = numbers[line["label"].get<std::string>()];
    numbered += line.dump() + "\n";
  }
  write_text(work / "held_out.jsonl", numbered);
  EXPECT_EQ(work.with_recipe("evaluate", "run", evaluate).out, by_name.out);

  // Alone, and under an adapter that has lost its labels.json.
  const auto score = [&](Lines more) {
    more.insert(more.begin(),
                {"score", "--model", (work / "named").string(), "--input", "-", "--json"});
    const Ended ended = run_leash(more, {.input = "{\"text\": \"xd\"}\n", .folder = work.path()});
    expect_done(ended);
    return json_lines(ended.out).at(0);
  };
  EXPECT_EQ(keys_of(score({})["probabilities"]), (Lines{"bird", "cat", "dog"}));
  std::filesystem::remove(work / "run/adapter/labels.json");
  const Json under = score({"--adapter", (work / "run/adapter").string()});
  EXPECT_EQ(keys_of(under["probabilities"]), (Lines{"bird", "cat", "dog"}));
  write_text(work / "held_out.jsonl", "{\"text\": \"a\", \"label\": \"cow\"}\n");
  expect_error(work.with_recipe("train", "other", named), 3,
               "held_out.jsonl:1: label `cow` is none of the classes of the model " +
                   (work / "named").string() + " (0 to 2: dog, bird, cat)");
  expect_error(work.with_recipe("train", "other",
                                {named[0], named[1], "--set", "data.labels=[bird, dog, cat]"}),
               3, "its classes are dog, bird, cat; data.labels has them in another order");
}

// What a long text is cut to is the same in training and afterwards, with the special token at its
// end, where the class is read.
TEST(ClassificationCommand, ScoresTextsAsTrainingCutThem) {
  const ClassificationWorkspace work;
  write_text(work.model() / "tokenizer.json", byte_tokenizer_with_template_json());
  expect_done(work.with_recipe("train", "cut", {"--set", "data.max_length=4"}));
  const Ended scored = work.run("score", {"--adapter", (work / "cut/adapter").string(), "--input",
                                          (work / "held_out.jsonl").string(), "--json"});
  expect_done(scored);
  EXPECT_THAT(scored.err,
              HasSubstr("9 of 12 texts truncated to 4 tokens (keep_start), by 24 tokens"));
  const auto lines = json_lines(scored.out);
  const Json evaluated = Json::parse(read_text(work / "cut/evaluations/step-6.json"));
  ASSERT_EQ(lines.size(), evaluated["texts"].size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["token_ids"].front(), 1);
    EXPECT_EQ(lines[i]["token_ids"].back(), 2);
    EXPECT_EQ(lines[i]["token_ids"].size(), 4u);
    EXPECT_EQ(lines[i].contains("cut_tokens"), (24 + i) % 5 != 0) << i;
    const Json& text = evaluated["texts"][i];
    const std::string label = evaluated["classes"][text["label"].get<size_t>()];
    EXPECT_NEAR(std::log(lines[i]["probabilities"][label].get<double>()),
                -text["nll"].get<double>(), 1e-5);
  }
  // Without that file, as PEFT leaves an adapter, the context is the limit.
  std::filesystem::remove(work / "cut/adapter/truncation.json");
  const Ended whole =
      work.run("score", {"--adapter", (work / "cut/adapter").string(), "--input", "-", "--json"},
               {.input = Json{{"text", std::string(200, 'x')}}.dump() + "\n"});
  expect_done(whole);
  EXPECT_EQ(json_lines(whole.out).at(0)["token_ids"].size(), 128u);
  EXPECT_EQ(json_lines(whole.out).at(0)["cut_tokens"], 74);
}

TEST(ClassificationCommand, ScoresChatAndNamesWhatIsWrong) {
  const ClassificationWorkspace work;
  const Lines top = {"--set", "lora={target_modules: [], trainable: [model.layers.1]}"};
  expect_done(work.with_recipe("train", "top", top));
  const auto score = [&](const std::string& input, const Lines& more = {"--json"}) {
    Lines args = {"--adapter", (work / "top/adapter").string(), "--input", "-"};
    args.insert(args.end(), more.begin(), more.end());
    return work.run("score", args, {.input = input});
  };
  const Ended chat =
      score("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n{\"text\": \"xc\"}\n");
  expect_done(chat);
  const auto lines = json_lines(chat.out);
  EXPECT_EQ(keys_of(lines.at(0)), (Lines{"label", "probabilities", "token_ids"}));
  // <|im_start|>user\nx<|im_end|>\n: no cue for an answer.
  EXPECT_EQ(lines.at(0)["token_ids"].size(), 9u);
  EXPECT_EQ(keys_of(lines.at(1)["probabilities"]), (Lines{"bird", "cat", "dog"}));
  EXPECT_THAT(score("{\"text\": \"xc\"}\n", {}).out, HasSubstr("probability  class"));
  expect_error(score("{\"token_ids\": []}\n"), 3, "the text has no tokens");
  std::filesystem::remove(work / "top/adapter/labels.json");  // as PEFT leaves it
  EXPECT_EQ(keys_of(json_lines(score("{\"text\": \"xc\"}\n").out).at(0)["probabilities"]),
            (Lines{"LABEL_0", "LABEL_1", "LABEL_2"}));
  expect_error(work.with_recipe("train", "other", {"--set", "lora.trainable=[model.layers.7]"}), 2,
               "lora.trainable: `model.layers.7` matches no module; there are: model.embed_tokens");
  write_text(work / "held_out.jsonl", "{\"text\": \"a\", \"label\": \"cow\"}\n");
  expect_error(work.with_recipe("train", "run"), 3,
               "held_out.jsonl:1: label `cow` is none of the classes (0 to 2: bird, cat, dog)");
}

}  // namespace
}  // namespace leash::testing
