// A reward adapter's scores are read at one place, whoever reads them: training's evaluation, PPO
// and `leash evaluate` (tests/cli/reward_test.cpp has `leash score`).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/lora/peft_adapter.h"
#include "rl/data/prompts.h"
#include "rl/data/text_ending.h"
#include "rl/reward/source.h"
#include "rl/reward_model/evaluation.h"
#include "rl/reward_model/trainer.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/support/files.h"
#include "tests/support/tiny_folder.h"

namespace leash {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kEos = 2;

struct Rule {
  bool chat;
  TextEnding ending;
};

class RewardEnding : public ::testing::TestWithParam<Rule> {
 protected:
  RewardEnding() {
    testing::write_tiny_folder(folder_ / "model");
    std::string pairs, prompts;
    for (int i = 0; i < kPairs; ++i) {
      const std::string prompt = "question " + std::to_string(i);
      const Json asked = Json::array({{{"role", "user"}, {"content", prompt}}});
      const auto said = [](const std::string& text) {
        return Json::array({{{"role", "assistant"}, {"content", text}}});
      };
      const bool chat = GetParam().chat;
      pairs += (chat ? Json{{"prompt", asked},
                            {"chosen", said(answer(i, true))},
                            {"rejected", said(answer(i, false))}}
                     : Json{{"prompt", prompt},
                            {"chosen", answer(i, true)},
                            {"rejected", answer(i, false)}})
                   .dump() +
               "\n";
      prompts += (chat ? Json{{"messages", asked}} : Json{{"prompt", prompt}}).dump() + "\n";
    }
    testing::write_text(folder_ / "pairs.jsonl", pairs);
    testing::write_text(folder_ / "prompts.jsonl", prompts);
  }
  static std::string answer(int i, bool chosen) {
    return std::string(static_cast<size_t>(1 + i % 3), chosen ? 'y' : 'n') + std::to_string(i * 7);
  }
  RewardSetup setup(const TextEnding& ending) const {
    RewardSetup setup;
    setup.model.path = (folder_ / "model").string();
    setup.lora.r = 4;
    setup.lora.target_modules = "all-linear";
    setup.data.train = folder_ / "pairs.jsonl";
    setup.data.eval = folder_ / "pairs.jsonl";
    setup.data.append_eos = ending.append_eos;
    setup.data.end_at_eos = ending.end_at_eos;
    return setup;
  }
  // As it is before training; `folder` gets it with its rule.
  TrainedModel adapter(const TextEnding& ending, const std::string& folder) const {
    TrainedModel model = load_reward_model(setup(ending));
    save_adapter(folder_ / folder, model.adapter, "base", model.notes);
    return model;
  }
  std::unique_ptr<const RewardSource> source(const std::string& folder,
                                             const TrainedModel& model) const {
    RewardConfig config;
    config.kind = RewardKind::adapter;
    config.path = (folder_ / folder).string();
    return make_reward({config}, {.tokenizer = model.tokenizer, .decoder = model.decoder});
  }
  // What PPO has of both answers to each prompt, `end` behind their words.
  std::vector<RewardSample> sampled(const Tokenizer& tokenizer, const std::string& end) const {
    std::vector<RewardSample> samples;
    const auto prompts = read_prompts(folder_ / "prompts.jsonl", tokenizer, {.context = 128});
    for (int i = 0; i < kPairs; ++i) {
      for (const bool chosen : {true, false}) {
        const PromptRecord& prompt = prompts[static_cast<size_t>(i)];
        samples.push_back({.prompt = prompt.text,
                           .answer = answer(i, chosen),
                           .prompt_ids = prompt.ids,
                           .token_ids = tokenizer.encode(answer(i, chosen) + end),
                           .ended = !end.empty(),
                           .messages = prompt.messages});
      }
    }
    return samples;
  }
  static constexpr int kPairs = 24;
  testing::ScratchFolder folder_;
};

TEST_P(RewardEnding, IsOneForEvaluationAndPpo) {
  const TrainedModel model = adapter(GetParam().ending, "adapter");
  const RewardSetup recipe = setup(GetParam().ending);
  const RewardEvaluation expected = evaluate_pairs(read_preferences_for(recipe, model).eval, recipe,
                                                   model, *single_communicator());
  const auto reward = source("adapter", model);
  EXPECT_THAT(reward->warnings(), IsEmpty());
  // Ended by EOS, and by a stop text, which may begin within a token.
  for (const char* end : {"<|im_end|>", "##"}) {
    const std::vector<double> scores = reward->score(sampled(model.tokenizer, end));
    ASSERT_EQ(scores.size(), 2 * expected.pairs.size());
    for (size_t i = 0; i < expected.pairs.size(); ++i) {
      EXPECT_NEAR(scores[2 * i], expected.pairs[i].chosen, 1e-5) << end;
      EXPECT_NEAR(scores[2 * i + 1], expected.pairs[i].rejected, 1e-5) << end;
    }
  }
  // `leash evaluate` under a recipe that was changed since.
  TextEnding other = GetParam().ending;
  (GetParam().chat ? other.end_at_eos : other.append_eos) ^= true;
  const TaskEvaluation evaluated =
      evaluate_run(setup(other), Snapshot{.step = 1, .path = folder_ / "adapter"});
  EXPECT_NEAR(evaluated.lines.at(0)["margin"]["mean"].get<double>(), expected.margin().mean, 1e-6);
}

// The same weights read elsewhere prefer other answers.
TEST_P(RewardEnding, MattersForWhatIsPreferred) {
  TextEnding other = GetParam().ending;
  (GetParam().chat ? other.end_at_eos : other.append_eos) ^= true;
  const TrainedModel model = adapter(GetParam().ending, "adapter");
  const TrainedModel elsewhere = adapter(other, "elsewhere");
  const auto samples = sampled(model.tokenizer, "<|im_end|>");
  const auto here = source("adapter", model)->score(samples);
  const auto there = source("elsewhere", elsewhere)->score(samples);
  int reversed = 0;
  for (size_t i = 0; i < here.size(); i += 2) {
    reversed += (here[i] > here[i + 1]) != (there[i] > there[i + 1]) ? 1 : 0;
  }
  EXPECT_GT(reversed, 0);
}

// An answer that was cut off has no ending, under any rule.
TEST_P(RewardEnding, IsNotThatOfAnAnswerThatWasCutOff) {
  const TrainedModel model = adapter(GetParam().ending, "adapter");
  const TrainedModel bare = adapter({.append_eos = false, .end_at_eos = false}, "bare");
  auto samples = sampled(model.tokenizer, "");
  const auto cut = source("adapter", model)->score(samples);
  EXPECT_EQ(cut, source("bare", bare)->score(samples));
  for (RewardSample& sample : samples) sample.messages.clear(), sample.ended = true;
  const auto plain = source("bare", bare)->score(samples);  // nothing behind it either
  for (size_t i = 0; i < cut.size(); ++i) EXPECT_NEAR(cut[i], plain[i], 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Rules, RewardEnding,
                         ::testing::Values(Rule{true, {true, true}}, Rule{true, {true, false}},
                                           Rule{false, {true, true}}, Rule{false, {false, true}}));

class TextEndings : public ::testing::Test {
 protected:
  TextEndings() {
    testing::write_tiny_folder(folder_ / "model");
    adapter_ = testing::tiny_adapter(*testing::tiny_decoder());
  }
  AdapterEnding stored(const std::map<std::string, std::string>& notes) const {
    save_adapter(folder_ / "adapter", *adapter_, "base", notes);
    return read_ending(folder_ / "adapter", tokenizer_with());
  }
  // The model's, with something else in its configuration.
  Tokenizer tokenizer_with(const Json& more = Json::object()) const {
    Json config = Json::parse(testing::read_text(folder_ / "model/tokenizer_config.json"));
    config.update(more);
    std::filesystem::create_directories(folder_ / "other");
    testing::write_text(folder_ / "other/tokenizer.json", testing::byte_tokenizer_json());
    testing::write_text(folder_ / "other/tokenizer_config.json", config.dump());
    return Tokenizer::load(folder_ / "other");
  }
  testing::ScratchFolder folder_;
  std::optional<Adapter> adapter_;
};

TEST_F(TextEndings, AnAdapterKeepsItsRule) {
  const Tokenizer tokenizer = tokenizer_with();
  for (const TextEnding ending : {TextEnding{true, false}, TextEnding{false, true}}) {
    const AdapterEnding found = stored({{kEndingKey, ending_text(ending, tokenizer)}});
    EXPECT_EQ(found.ending, ending);
    EXPECT_THAT(found.warnings, IsEmpty());
  }
  const AdapterEnding found = stored({});
  EXPECT_EQ(found.ending, TextEnding());
  EXPECT_THAT(found.warnings,
              ElementsAre(HasSubstr("adapter: does not say what texts ended with")));
}

TEST_F(TextEndings, AnotherTemplateIsWarnedOfAndANewerRuleIsRefused) {
  const std::string plain = ending_text({}, tokenizer_with({{"chat_template", ""}}));
  EXPECT_THAT(stored({{kEndingKey, plain}}).warnings, ElementsAre(HasSubstr("chat template")));
  for (const char* odd : {"", "[]", "{}", "{\"append_eos\":true,\"end_at_eos\":1,\"chat\":\"\"}",
                          "{\"append_eos\":true,\"end_at_eos\":true,\"chat\":\"\",\"more\":1}"}) {
    EXPECT_THROW(stored({{kEndingKey, odd}}), FormatError) << odd;
  }
  const Json none = {{"eos_token", nullptr}};
  stored({{kEndingKey, ending_text({}, tokenizer_with())}});
  EXPECT_THROW(read_ending(folder_ / "adapter", tokenizer_with(none)), FormatError);
}

// transformers' GenericForSequenceClassification (5.x): the rightmost token that is not padding.
TEST(TextEnding, PaddingIsPassedOverAsInTransformers) {
  const auto without = [](std::optional<int64_t> pad, std::vector<int64_t> ids) {
    leave_out_padding(pad, ids);
    return ids;
  };
  EXPECT_THAT(without(kEos, {2, 5, 2, 7, 2, 2}), ElementsAre(2, 5, 2, 7));
  EXPECT_THAT(without(kEos, {5, 7}), ElementsAre(5, 7));
  EXPECT_THAT(without(kEos, {2, 2}), ElementsAre(2));
  EXPECT_THAT(without(std::nullopt, {5, 2}), ElementsAre(5, 2));
  EXPECT_THAT(without(kEos, {}), IsEmpty());
}

}  // namespace
}  // namespace leash
