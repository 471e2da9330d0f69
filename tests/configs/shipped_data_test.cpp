// The data that ships with the project, read as its recipes read it: how much there is, that
// nothing is dropped or cut, and that nothing held out is trained on.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "configs/experiment.h"
#include "models/io/checkpoint.h"
#include "rl/data/labelled_texts.h"
#include "rl/data/preferences.h"
#include "rl/data/prompts.h"
#include "rl/data/sft_data.h"
#include "tests/support/files.h"

namespace leash {
namespace {

class ShippedDataSmolLM2 : public ::testing::Test {
 protected:
  template <class Setup>
  static Setup recipe(const std::string& name) {
    const auto file = testing::repository("configs/recipes/" + name);
    return std::get<Setup>(load_experiment(file).experiment.setup);
  }
  template <class Items, class Key>
  static std::set<std::string> keys(const Items& items, const Key& key) {
    std::set<std::string> found;
    for (const auto& item : items) found.insert(key(item));
    return found;
  }
  template <class Items, class Key>
  static void expect_no_leak(const Items& train, const Items& held_out, const Key& key) {
    const std::set<std::string> trained = keys(train, key);
    EXPECT_EQ(trained.size(), train.size()) << "twice in the training data";
    for (const auto& item : held_out) EXPECT_FALSE(trained.contains(key(item))) << key(item);
  }

  const Checkpoint checkpoint = open_checkpoint(testing::smollm2());
  const Tokenizer tokenizer = Tokenizer::load(testing::smollm2());
  const int64_t context = checkpoint.config.max_positions;
};

TEST_F(ShippedDataSmolLM2, PreferencePairs) {
  const auto setup = recipe<RewardSetup>("reward.yaml");
  const PreferenceDataSets sets = read_preference_data_sets(setup.data, tokenizer, context, 1);
  EXPECT_GE(sets.train.counts.pairs + sets.eval.counts.pairs, 400);
  EXPECT_GE(sets.train.counts.prompts + sets.eval.counts.prompts, 150);
  EXPECT_EQ(sets.train.counts.pairs, 384);
  EXPECT_EQ(sets.train.counts.prompts, 128);
  EXPECT_EQ(sets.eval.counts.pairs, 120);
  EXPECT_EQ(sets.eval.counts.prompts, 40);
  for (const PreferenceData* data : {&sets.train, &sets.eval}) {
    EXPECT_EQ(data->counts.lines, data->counts.pairs);
    EXPECT_EQ(data->counts.truncated + data->counts.dropped_long + data->counts.dropped_equal, 0);
    int64_t longer = 0;  // the chosen one; length alone says nothing
    for (const PreferencePair& pair : data->pairs) {
      longer += pair.chosen_text.size() > pair.rejected_text.size() ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(longer), 0.5 * static_cast<double>(data->pairs.size()),
                0.05 * static_cast<double>(data->pairs.size()));
  }
  EXPECT_EQ(leaked_pairs(sets), 0);
}

TEST_F(ShippedDataSmolLM2, ShortAnswers) {
  const auto setup = recipe<SftSetup>("sft_tutorial.yaml");
  const SftDataSets sets = read_sft_data_sets(setup.data, tokenizer, context, 1);
  EXPECT_EQ(sets.train.samples.size(), 160u);
  EXPECT_EQ(sets.eval.samples.size(), 20u);
  for (const SftData* data : {&sets.train, &sets.eval}) {
    EXPECT_EQ(data->counts.lines, static_cast<int64_t>(data->samples.size()));
    EXPECT_EQ(data->counts.truncated + data->counts.dropped + data->counts.merged_borders, 0);
  }
  expect_no_leak(sets.train.samples, sets.eval.samples,
                 [](const SftSample& sample) { return sample.prompt; });
}

TEST_F(ShippedDataSmolLM2, InboxTexts) {
  const auto setup = recipe<ClassificationSetup>("classification.yaml");
  const LabelledDataSets sets = read_labelled_data_sets(setup.data, tokenizer, context, 1);
  EXPECT_EQ(sets.classes, (ClassNames{"delivery", "payment", "repair"}));
  EXPECT_EQ(sets.train.texts.size(), 120u);
  EXPECT_EQ(sets.eval.texts.size(), 45u);
  EXPECT_EQ(sets.train.counts.truncated + sets.eval.counts.truncated, 0);
  for (const LabelledData* data : {&sets.train, &sets.eval}) {
    for (int64_t label = 0; label < 3; ++label) {
      const auto same = std::ranges::count(data->texts, label, &LabelledText::label);
      EXPECT_EQ(3 * same, static_cast<int64_t>(data->texts.size())) << sets.classes[label];
    }
  }
  expect_no_leak(sets.train.texts, sets.eval.texts,
                 [](const LabelledText& text) { return text.text; });
}

TEST_F(ShippedDataSmolLM2, EverydayPrompts) {
  const auto setup = recipe<PpoSetup>("demo.yaml");
  const PromptLimits limits{.max_prompt_length = setup.data.max_prompt_length, .context = context};
  const auto train = read_prompts(setup.data.train, tokenizer, limits);
  const auto held_out = read_prompts(setup.data.eval.value(), tokenizer, limits);
  EXPECT_EQ(train.size(), 225u);
  EXPECT_EQ(held_out.size(), 50u);
  expect_no_leak(train, held_out, [](const PromptRecord& prompt) { return prompt.display; });
}

TEST_F(ShippedDataSmolLM2, Sums) {
  const auto setup = recipe<GrpoSetup>("grpo_sums.yaml");
  const PromptLimits limits{.max_prompt_length = setup.data.max_prompt_length, .context = context};
  const auto train = read_prompts(setup.data.train, tokenizer, limits);
  const auto held_out = read_prompts(setup.data.eval.value(), tokenizer, limits);
  EXPECT_EQ(train.size(), 311u);
  EXPECT_EQ(held_out.size(), 48u);
  expect_no_leak(train, held_out, [](const PromptRecord& prompt) { return prompt.text; });
}

}  // namespace
}  // namespace leash
