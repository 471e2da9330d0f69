// Reward sources: sums, what is refused, and a reward model against transformers' scores
// (tests/golden/make_reward_model.py).
#include "rl/reward/source.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "rl/reward/model.h"
#include "tests/rl/byte_tokenizer.h"
#include "tests/rl/json_tensors.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using testing::byte_tokenizer_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_golden;
using testing::repository;
using testing::ScratchFolder;
using testing::write_text;

RewardConfig bigrams(double weight) {
  RewardConfig config;
  config.weight = weight;
  config.name = "distinct_bigrams";
  return config;
}

RewardConfig length(double target) {
  RewardConfig config;
  config.name = "length";
  config.parameters = {{"target", target}};
  return config;
}

RewardConfig model(const std::filesystem::path& path) {
  RewardConfig config;
  config.kind = RewardKind::model;
  config.path = path.string();
  return config;
}

RewardSample sample(const std::string& answer) { return {.prompt = "p p p", .answer = answer}; }

TEST(RewardSource, AddsUpWeightedScoresInTheOrderOfTheSamples) {
  const auto reward = make_reward({bigrams(2.0), length(3)}, {});
  EXPECT_THAT(reward->score({sample("a b c"), sample("a a a"), sample("")}),
              ElementsAre(2.0, 1.0, -3.0));
  EXPECT_THAT(reward->score({}), ElementsAre());
}

TEST(RewardSource, AScoreThatIsTooLargeNamesItsSource) {
  RewardConfig command;
  command.kind = RewardKind::command;
  command.command = "printf '1\\n1e308\\n'";
  const auto error_of = [&](double weight) -> std::string {
    command.weight = weight;
    try {
      make_reward({bigrams(1), command}, {})->score({sample("a"), sample("b")});
      return "no error";
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  };
  EXPECT_THAT(error_of(1),
              HasSubstr("reward[1] (command `printf '1\\n1e308\\n'`) gave answer 2 of 2 "
                        "the score 1e+308;"));
  EXPECT_THAT(error_of(1e3), HasSubstr("(times its weight, 1000)"));
  EXPECT_EQ(error_of(1e-300), "no error");
}

TEST(RewardSource, AllProblemsAreNamedWithTheirPlace) {
  RewardConfig model_without_path = model("x");
  model_without_path.path.reset();
  model_without_path.name = "length";
  RewardConfig http;
  http.kind = RewardKind::http;
  RewardConfig wrong = length(2);
  wrong.path = "there";
  wrong.weight = std::numeric_limits<double>::quiet_NaN();
  wrong.parameters["tarjet"] = 1;
  wrong.timeout_seconds = 5;
  EXPECT_THAT(reward_problems({model_without_path, http, length(1), wrong}),
              ElementsAre(HasSubstr("reward[0].path: kind: model needs a checkpoint"),
                          HasSubstr("reward[0].name: has no effect with kind: model"),
                          HasSubstr("reward[1].url: kind: http needs an address"),
                          HasSubstr("reward[3].weight"), HasSubstr("reward[3].parameters.tarjet"),
                          HasSubstr("reward[3].path: has no effect with kind: function"),
                          HasSubstr("reward[3].timeout_seconds: has no effect")));
  EXPECT_THAT(reward_problems({}), ElementsAre(HasSubstr("at least one")));
  EXPECT_THROW(make_reward({http}, {}), ConfigError);
}

TEST(RewardSource, KeysOfOtherKindsHaveNoEffect) {
  RewardConfig command;
  command.kind = RewardKind::command;
  command.command = "cat";
  command.max_restarts = 1;
  command.batch_size = 2;
  command.clip = {1, 0};
  command.pattern = "x";
  RewardConfig endpoint;
  endpoint.kind = RewardKind::http;
  endpoint.url = "http://somewhere.example/score";
  endpoint.header_env = "TOKEN";
  endpoint.mode = CommandMode::persistent;
  RewardConfig secret = endpoint;
  secret.mode = CommandMode::per_batch;
  secret.url = "https://me:word@somewhere.example";
  secret.header_env = "Authorization: Bearer x";
  RewardConfig plain = length(2);
  plain.ids = true;
  plain.label = "a/b";
  EXPECT_THAT(
      reward_problems({command, endpoint, secret, plain}),
      ElementsAre(HasSubstr("reward[0].clip: has to be [lowest, highest]"),
                  HasSubstr("reward[0].max_restarts: has no effect without mode: persistent"),
                  HasSubstr("reward[0].batch_size: has no effect with kind: command"),
                  HasSubstr("reward[0].pattern: has no effect"),
                  HasSubstr("reward[1].url: header_env would travel unencrypted"),
                  HasSubstr("reward[1].mode: has no effect with kind: http"),
                  HasSubstr("reward[2].url: holds a user's name or password"),
                  HasSubstr("reward[2].header_env: has to be the name of an environment variable"),
                  HasSubstr("reward[3].label"), HasSubstr("reward[3].ids: has no effect")));
}

TEST(RewardSource, LabelsAreUnique) {
  RewardConfig named = length(1);
  named.label = "length_2";
  EXPECT_THAT(reward_labels({length(1), named, length(2), bigrams(1), model("m")}),
              ElementsAre("length", "length_2", "length_3", "distinct_bigrams", "model"));
}

TEST(RewardSource, PartsAreTheScoresThemselves) {
  RewardConfig clipped = length(3);
  clipped.clip = {-1, 0};
  clipped.weight = 10;
  const auto reward = make_reward({bigrams(2), clipped}, {});
  const RewardScores scores = reward->score_parts({sample("a b c"), sample("a a a a a a")});
  EXPECT_THAT(scores.parts, ElementsAre(ElementsAre(1, 0.2), ElementsAre(0, -3)));
  EXPECT_THAT(scores.total, ElementsAre(2, 0.4 - 10));
  EXPECT_EQ(scores.seconds.size(), 2u);
}

TEST(RewardSource, AColumnThatIsMissingIsSeenBeforeTheRun) {
  RewardConfig config;
  config.name = "exact_answer";
  config.column = "gold";
  const auto reward = make_reward({length(1), config}, {});
  PromptRecord prompt{.text = "t", .ids = {1}};
  EXPECT_THROW(reward->check_prompt(prompt), FormatError);
  prompt.row = std::make_shared<const nlohmann::ordered_json>(
      nlohmann::ordered_json::parse(R"({"prompt": "t", "gold": "x"})"));
  EXPECT_NO_THROW(reward->check_prompt(prompt));
  EXPECT_EQ(reward_columns({config}).names.front(), "gold");
}

// The golden checkpoint with a tokenizer, and a policy's tokenizer beside it.
class GoldenRewardModel : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "model");
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::filesystem::copy(repository(std::string("tests/golden/reward_model/") + name),
                            folder_ / "model" / name);
    }
    write_tokenizer(folder_ / "model", 0);
    rows_ = read_golden("reward_model/scores.json");
  }
  static Tokenizer write_tokenizer(const std::filesystem::path& folder, int rotation) {
    write_text(folder / "tokenizer.json", byte_tokenizer_json(rotation));
    write_text(folder / "tokenizer_config.json", R"({"eos_token": "<|im_end|>"})");
    return Tokenizer::load(folder);
  }
  std::vector<RewardSample> samples() const {
    std::vector<RewardSample> result;
    for (const auto& row : rows_) {
      result.push_back(
          {row["prompt"], row["answer"], row["prompt_ids"], row["token_ids"], row["ended"]});
    }
    return result;
  }
  void expect_scores(const std::vector<double>& scores) const {
    ASSERT_EQ(scores.size(), rows_.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      EXPECT_NEAR(scores[i], rows_[i]["score"].get<double>(), 1e-5) << i;
    }
  }
  ScratchFolder folder_;
  nlohmann::json rows_;
};

TEST_F(GoldenRewardModel, ScoresThePolicysIdsWhereVocabulariesAreEqual) {
  const ModelReward reward(folder_ / "model",
                           {.tokenizer = write_tokenizer(folder_ / "policy", 0)});
  EXPECT_TRUE(reward.uses_policy_ids());
  auto all = samples();
  for (RewardSample& one : all) one.prompt = one.answer = "not read";
  expect_scores(reward.score(all));
  EXPECT_THAT(reward.score({}), ElementsAre());
}

TEST_F(GoldenRewardModel, TokenisesAgainWhereVocabulariesDiffer) {
  const ModelReward reward(folder_ / "model", {.tokenizer = write_tokenizer(folder_ / "policy", 5),
                                               .micro_batch_tokens = 8});
  EXPECT_FALSE(reward.uses_policy_ids());
  auto all = samples();
  for (RewardSample& one : all) one.prompt_ids = one.token_ids = {7};
  expect_scores(reward.score(all));
}

TEST_F(GoldenRewardModel, IsOnePartOfASum) {
  RewardConfig half = model(folder_ / "model");
  half.weight = 0.5;
  const auto reward =
      make_reward({half, length(1)}, {.tokenizer = write_tokenizer(folder_ / "policy", 0)});
  const std::vector<double> scores = reward->score(samples());
  EXPECT_NEAR(scores[0], 0.5 * rows_[0]["score"].get<double>(), 1e-5);  // "Fine." is one word
}

// A prompt that leaves the model no room for an answer is refused before a run, not in its middle.
TEST_F(GoldenRewardModel, ItsContextLimitsThePolicysTokens) {
  const RewardContext same{.tokenizer = write_tokenizer(folder_ / "policy", 0)};
  EXPECT_EQ(make_reward({length(1), model(folder_ / "model")}, same)->context(), 48);
  const RewardContext other{.tokenizer = write_tokenizer(folder_ / "policy", 5)};
  EXPECT_EQ(make_reward({model(folder_ / "model")}, other)->context(), std::nullopt);
  EXPECT_EQ(make_reward({length(1)}, same)->context(), std::nullopt);
}

TEST_F(GoldenRewardModel, QuantisedItScoresNearlyTheSame) {
  const RewardContext context{.tokenizer = write_tokenizer(folder_ / "policy", 0)};
  const std::vector<double> whole =
      make_reward({model(folder_ / "model")}, context)->score(samples());
  RewardConfig config = model(folder_ / "model");
  config.quantize = Quantize::int8;
  const std::vector<double> small = make_reward({config}, context)->score(samples());
  double difference = 0, size = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    difference = std::max(difference, std::abs(small[i] - whole[i]));
    size = std::max(size, std::abs(whole[i]));
  }
  EXPECT_GT(difference, 1e-7);  // it is another model
  EXPECT_LT(difference, 0.1 * size);
}

TEST_F(GoldenRewardModel, RefusesWhatItCannotRead) {
  const ModelReward reward(folder_ / "model",
                           {.tokenizer = write_tokenizer(folder_ / "policy", 0)});
  EXPECT_THROW(reward.ids_of({}), FormatError);
  EXPECT_THROW(reward.ids_of({.token_ids = {259}}), FormatError);
  EXPECT_THROW(reward.ids_of({.token_ids = {-1}}), FormatError);
}

// What is over the context is left out at the end, whichever ids are read, and no run ends.
TEST_F(GoldenRewardModel, ALongAnswerIsCutToItsContext) {
  for (const int rotation : {0, 5}) {
    const ModelReward reward(folder_ / "model",
                             {.tokenizer = write_tokenizer(folder_ / "policy", rotation)});
    const std::vector<int64_t> sixty(60, 3 + 'x');
    const RewardSample sample{
        .prompt = "", .answer = std::string(60, 'x'), .token_ids = sixty, .ended = true};
    EXPECT_EQ(reward.ids_of(sample), std::vector<int64_t>(48, 3 + 'x'));
    EXPECT_NO_THROW(reward.check_prompt(
        {.text = std::string(47, 'x'), .ids = {sixty.begin(), sixty.begin() + 47}}));
    EXPECT_THROW(reward.check_prompt(
                     {.text = std::string(48, 'x'), .ids = {sixty.begin(), sixty.begin() + 48}}),
                 FormatError);
  }
}

// pad = EOS, as in many a checkpoint: the score of the token before EOS, as in transformers.
TEST_F(GoldenRewardModel, PaddingIsNotRead) {
  const RewardContext context{.tokenizer = write_tokenizer(folder_ / "policy", 0)};
  std::vector<RewardSample> ended, bare;
  for (RewardSample sample : samples()) {
    if (!sample.ended) continue;
    ended.push_back(sample);
    sample.ended = false;
    sample.token_ids.pop_back();
    bare.push_back(sample);
  }
  ASSERT_FALSE(ended.empty());
  const auto at_eos = make_reward({model(folder_ / "model")}, context)->score(ended);
  auto config = nlohmann::json::parse(testing::read_text(folder_ / "model/config.json"));
  config["pad_token_id"] = 2;
  write_text(folder_ / "model/config.json", config.dump());
  const auto reward = make_reward({model(folder_ / "model")}, context);
  EXPECT_EQ(reward->score(ended), reward->score(bare));
  EXPECT_NE(reward->score(ended), at_eos);
}

// ChatML as both checkpoints' template; and as SmolLM2 has it, with a system message of its own.
constexpr const char* kPlainChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";
const std::string kWithSystem =
    std::string(
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' "
        "%}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}") +
    std::string(kPlainChatMl).substr(std::string("{% for message in messages %}").size());

class ConversationsForARewardModel : public GoldenRewardModel {
 protected:
  void SetUp() override {
    GoldenRewardModel::SetUp();
    auto config = nlohmann::json::parse(testing::read_text(folder_ / "model/config.json"));
    config["max_position_embeddings"] = 200;
    write_text(folder_ / "model/config.json", config.dump());
  }
  Tokenizer with_template(const std::string& folder, int rotation, const std::string& chat) const {
    write_tokenizer(folder_ / folder, rotation);
    write_text(folder_ / folder / "tokenizer_config.json",
               nlohmann::json{{"eos_token", "<|im_end|>"}, {"chat_template", chat}}.dump());
    return Tokenizer::load(folder_ / folder);
  }
  // As the policy's tokenizer has it.
  static RewardSample chat_sample(const Tokenizer& policy, bool ended) {
    RewardSample sample{.answer = "yes", .ended = ended, .messages = {{"user", "well?"}}};
    sample.prompt = render_chat(policy, sample.messages, true).text;
    sample.prompt_ids = policy.encode(sample.prompt);
    sample.token_ids = policy.encode(ended ? "yes<|im_end|>" : "yes");
    return sample;
  }
};

TEST_F(ConversationsForARewardModel, GoThroughItsOwnTemplate) {
  const Tokenizer own = with_template("model", 0, kWithSystem);
  for (const int rotation : {0, 5}) {  // its vocabulary, or another
    const Tokenizer policy = with_template("policy", rotation, kPlainChatMl);
    const ModelReward reward(folder_ / "model", {.tokenizer = policy});
    const std::vector<ChatMessage> whole = {{"user", "well?"}, {"assistant", "yes"}};
    std::vector<int64_t> expected = encode_chat(own, whole, false);
    expected.pop_back();  // the line break behind EOS
    EXPECT_EQ(reward.ids_of(chat_sample(policy, true)), expected);
    expected.pop_back();
    EXPECT_EQ(reward.ids_of(chat_sample(policy, false)), expected);
    RewardSample stopped = chat_sample(policy, true);  // by a stop text
    stopped.token_ids = policy.encode("yes##");
    EXPECT_EQ(reward.ids_of(stopped), reward.ids_of(chat_sample(policy, true)));
  }
}

TEST_F(ConversationsForARewardModel, StayAsTheyAreWhereItsTemplateIsThePolicys) {
  for (const char* chat : {"", kPlainChatMl}) {
    with_template("model", 0, chat);
    const Tokenizer policy = with_template("policy", 0, kPlainChatMl);
    const ModelReward reward(folder_ / "model", {.tokenizer = policy});
    RewardSample sample = chat_sample(policy, true);
    std::vector<int64_t> expected = sample.prompt_ids;
    expected.insert(expected.end(), sample.token_ids.begin(), sample.token_ids.end());
    EXPECT_EQ(reward.ids_of(sample), expected);
    sample.token_ids = policy.encode("yes##");
    EXPECT_EQ(reward.ids_of(sample), expected);
  }
}

TEST_F(ConversationsForARewardModel, AreRefusedWhereItsTemplateIsUnknown) {
  const Tokenizer policy = with_template("policy", 5, kPlainChatMl);
  for (const char* chat : {"", "{{ raise_exception('no chats') }}"}) {
    with_template("model", 0, chat);
    const auto reward = make_reward({model(folder_ / "model")}, {.tokenizer = policy});
    EXPECT_THROW(reward->check_prompt({.text = "t", .ids = {1}, .messages = {{"user", "well?"}}}),
                 FormatError);
    EXPECT_NO_THROW(reward->check_prompt({.text = "t", .ids = {1}}));
  }
}

TEST_F(GoldenRewardModel, NeedsAHeadATokenizerAndAFolder) {
  std::filesystem::remove(folder_ / "model" / "tokenizer.json");
  EXPECT_THROW(make_reward({model(folder_ / "model")}, {}), FormatError);
  EXPECT_THROW(make_reward({model(folder_ / "absent")}, {}), FormatError);
}

}  // namespace
}  // namespace leash
