// The engine on a tiny random model: what an answer may depend on, what is reported, and that
// log-probs at sampling are those of scoring.
#include "rollout/engine.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "models/errors.h"
#include "rollout/scoring.h"
#include "tests/rollout/texts.h"
#include "tests/rollout/tiny_tokenizer.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::alone;
using testing::random_ids;
using testing::tiny_adapter;
using testing::tiny_decoder;
using testing::tiny_id;
using testing::value_head;

// Twelve prompts of unequal lengths; 3 and 9 are equal, and so are 5, 6 and 11.
std::vector<Prompt> some_prompts() {
  std::vector<Prompt> prompts;
  const int64_t lengths[] = {4, 1, 20, 7, 33, 12, 12, 2, 15, 7, 26, 12};
  for (uint64_t i = 0; i < 12; ++i) {
    const uint64_t seed = i == 9 ? 3 : (i == 6 || i == 11) ? 5 : i;
    prompts.push_back({random_ids(100 + seed, lengths[i]), 1000 + i * i});
  }
  return prompts;
}

// The same behind a system message of 12 tokens, which is read once for all of them.
std::vector<Prompt> some_chat_prompts() {
  std::vector<Prompt> prompts = some_prompts();
  const auto prefix = random_ids(77, 12);
  for (Prompt& prompt : prompts) {
    prompt.ids.insert(prompt.ids.begin(), prefix.begin(), prefix.end());
  }
  return prompts;
}

GenerationConfig sampling_config() {
  GenerationConfig config;
  config.max_new_tokens = 24;
  config.eos_token_ids = {2, 40, 41};
  config.seed = 11;
  config.step = 5;
  return config;
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(a[i], b[i], tolerance * std::max(1.0, std::abs(b[i]))) << "entry " << i;
}

void expect_same(const Completion& a, const Completion& b) {
  EXPECT_EQ(a.sample, b.sample);
  EXPECT_EQ(a.prompt_ids, b.prompt_ids);
  ASSERT_EQ(a.token_ids, b.token_ids) << "of sample " << a.sample;
  EXPECT_EQ(a.stop, b.stop);
  expect_near(a.logprobs, b.logprobs, 1e-5);
  expect_near(a.behaviour_logprobs, b.behaviour_logprobs, 1e-5);
  expect_near(a.entropies, b.entropies, 1e-5);
  expect_near(a.values, b.values, 1e-5);
}

class Engine : public ::testing::Test {
 protected:
  std::shared_ptr<const Decoder> decoder = tiny_decoder();
  Adapter adapter = tiny_adapter(*decoder);
  RolloutEngine engine{decoder, std::nullopt};
  LinearHead head = value_head();
};

TEST_F(Engine, AnswersDoNotDependOnOrderCompanyOrBatch) {
  for (const auto& prompts : {some_prompts(), some_chat_prompts()}) {
    const auto all = engine.generate(prompts, &adapter, sampling_config(), &head);
    ASSERT_EQ(all.size(), prompts.size());
    std::set<size_t> lengths;
    for (const auto& completion : all) lengths.insert(completion.token_ids.size());
    EXPECT_GE(lengths.size(), 4u) << "answers of many lengths, so that slots change hands";
    for (const int64_t max_batch : {1, 3, 5}) {
      GenerationConfig config = sampling_config();
      config.max_batch = max_batch;
      const auto some = engine.generate(prompts, &adapter, config, &head);
      for (size_t i = 0; i < all.size(); ++i) expect_same(some[i], all[i]);
    }
    std::vector<Prompt> backwards(prompts.rbegin(), prompts.rend());
    GenerationConfig config = sampling_config();
    config.max_batch = 4;
    auto turned = engine.generate(backwards, &adapter, config, &head);
    std::reverse(turned.begin(), turned.end());
    for (size_t i = 0; i < all.size(); ++i) {
      expect_same(turned[i], all[i]);
      expect_same(engine.generate({prompts[i]}, &adapter, sampling_config(), &head)[0], all[i]);
    }
  }
}

TEST_F(Engine, DrawsDependOnSampleSeedStepAndPurpose) {
  const std::vector<Prompt> same(4, {random_ids(1, 6), 9});
  const auto equal = engine.generate(same, nullptr, sampling_config());
  for (const auto& completion : equal) expect_same(completion, equal[0]);
  std::set<std::vector<int64_t>> answers = {equal[0].token_ids};
  const auto add = [&](const Prompt& prompt, const GenerationConfig& config) {
    answers.insert(engine.generate({prompt}, nullptr, config)[0].token_ids);
  };
  add({same[0].ids, 10}, sampling_config());
  GenerationConfig config = sampling_config();
  config.seed = 12;
  add(same[0], config);
  config = sampling_config();
  config.step = 6;
  add(same[0], config);
  config = sampling_config();
  config.purpose = Purpose::evaluation;
  add(same[0], config);
  EXPECT_EQ(answers.size(), 5u);
}

// In float64 only the sampler's own fp32 logits separate the two paths, so a logical difference
// could not hide behind the rounding of a deep network; in fp32 the gap has the bound that PPO's
// metric policy/logprob_gap_max is held to.
TEST(EngineScoring, LogprobsAtSamplingAreThoseOfScoring) {
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kFloat, 1e-4}, std::pair{at::kDouble, 2e-6}}) {
    const auto decoder = tiny_decoder(dtype);
    const Adapter adapter = tiny_adapter(*decoder, 3, 0.1);
    const LinearHead head{value_head().weight.to(dtype)};
    for (const double temperature : {0.7, 1.0}) {
      GenerationConfig config = sampling_config();
      config.sampling.temperature = temperature;
      const auto completions =
          RolloutEngine(decoder, std::nullopt).generate(some_prompts(), &adapter, config, &head);
      std::vector<ScoredText> texts;
      for (const auto& completion : completions) {
        ScoredText& text = texts.emplace_back();
        text.ids = completion.prompt_ids;
        text.answer_begin = static_cast<int64_t>(text.ids.size());
        text.ids.insert(text.ids.end(), completion.token_ids.begin(), completion.token_ids.end());
      }
      const auto scored =
          score_texts(*decoder, &adapter, texts, {.temperature = temperature, .value_head = &head});
      for (size_t i = 0; i < texts.size(); ++i) {
        expect_near(completions[i].logprobs, scored[i].logprobs, tolerance);
        expect_near(completions[i].entropies, scored[i].entropies, tolerance);
        expect_near(completions[i].values, scored[i].values, tolerance);
        EXPECT_EQ(completions[i].logprobs, completions[i].behaviour_logprobs);
      }
    }
  }
}

TEST_F(Engine, GreedyIsTheArgmaxOfWholeForwards) {
  GenerationConfig config;
  config.sampling.temperature = 0;
  config.max_new_tokens = 12;
  for (const auto& completion : engine.generate(some_prompts(), &adapter, config)) {
    std::vector<int64_t> ids = completion.prompt_ids;
    ASSERT_EQ(completion.token_ids.size(), 12u);
    for (const int64_t token : completion.token_ids) {
      const at::NoGradGuard no_grad;
      const auto hidden = decoder->forward(pack(alone(ids)), adapter);
      const auto logits = decoder->logits(hidden.narrow(0, hidden.size(0) - 1, 1), adapter);
      ASSERT_EQ(token, logits.argmax().item<int64_t>());
      ids.push_back(token);
    }
  }
}

TEST_F(Engine, EndsForTheRightReason) {
  GenerationConfig config = sampling_config();
  config.max_new_tokens = 1000;
  config.stop_token_ids = {50, 51, 52};
  std::set<StopReason> met;
  std::vector<Prompt> prompts;
  for (uint64_t i = 0; i < 40; ++i) prompts.push_back({random_ids(i, 60 - i), i});
  for (const auto& completion : engine.generate(prompts, nullptr, config)) {
    met.insert(completion.stop);
    const int64_t last = completion.token_ids.back();
    const bool is_eos = last == 2 || last == 40 || last == 41;
    const bool is_stop = last >= 50 && last <= 52;
    EXPECT_EQ(is_eos, completion.stop == StopReason::eos);
    EXPECT_EQ(is_stop, completion.stop == StopReason::stop_token);
    if (completion.stop == StopReason::context) {
      EXPECT_EQ(completion.prompt_ids.size() + completion.token_ids.size(), 64u);
    }
    EXPECT_EQ(completion.logprobs.size(), completion.token_ids.size());
    EXPECT_TRUE(completion.values.empty());
    EXPECT_TRUE(completion.text.empty());
  }
  EXPECT_EQ(met, (std::set{StopReason::eos, StopReason::stop_token, StopReason::context}));
}

TEST_F(Engine, NoEndBeforeMinNewTokens) {
  GenerationConfig config = sampling_config();
  config.min_new_tokens = 10;
  config.eos_token_ids.clear();
  for (int64_t id = 0; id < 80; ++id) config.eos_token_ids.push_back(id);
  for (const auto& completion : engine.generate(some_prompts(), nullptr, config)) {
    ASSERT_GE(completion.token_ids.size(), 10u);
    for (size_t j = 0; j < 9; ++j) {
      EXPECT_GE(completion.token_ids[j], 80);
      EXPECT_GT(completion.behaviour_logprobs[j], completion.logprobs[j]);
    }
  }
}

TEST_F(Engine, TextOmitsWhatEndedIt) {
  const RolloutEngine with_text(decoder, testing::tiny_tokenizer());
  GenerationConfig config = sampling_config();
  config.stop_texts = {"a", "7", "XYZ"};
  int cut = 0;
  for (const auto& completion : with_text.generate(some_prompts(), nullptr, config)) {
    std::vector<int64_t> ids = completion.token_ids;
    if (completion.stop == StopReason::eos) ids.pop_back();
    const std::string whole = testing::tiny_tokenizer().decode(ids, /*skip_special=*/true);
    const size_t stop = std::min(whole.find('a'), whole.find('7'));
    EXPECT_EQ(completion.text, whole.substr(0, stop));
    EXPECT_EQ(completion.stop == StopReason::stop_text, stop != std::string::npos);
    cut += stop != std::string::npos;
  }
  EXPECT_GT(cut, 0);
  EXPECT_ANY_THROW(engine.generate(some_prompts(), nullptr, config)) << "without a tokenizer";
}

TEST_F(Engine, CallsBackInAnOrderOfItsOwnAndLetsACallerStop) {
  GenerationConfig config = sampling_config();
  config.max_batch = 3;
  std::vector<uint64_t> orders[2];
  std::vector<std::vector<int64_t>> streamed(12);
  for (auto& order : orders) {
    RolloutEngine::Callbacks callbacks;
    callbacks.on_finished = [&](const Completion& done) { order.push_back(done.sample); };
    callbacks.on_token = [&](int64_t prompt, int64_t token) {
      streamed[static_cast<size_t>(prompt)].push_back(token);
      return true;
    };
    for (auto& tokens : streamed) tokens.clear();
    const auto all = engine.generate(some_prompts(), nullptr, config, nullptr, callbacks);
    for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].token_ids, streamed[i]);
  }
  EXPECT_EQ(orders[0], orders[1]);
  EXPECT_EQ(std::set(orders[0].begin(), orders[0].end()).size(), 12u);
  RolloutEngine::Callbacks impatient;
  impatient.on_token = [](int64_t prompt, int64_t) { return prompt != 4; };
  const auto full = engine.generate(some_prompts(), nullptr, config);
  const auto cut = engine.generate(some_prompts(), nullptr, config, nullptr, impatient);
  EXPECT_EQ(cut[4].token_ids.size(), 1u);
  EXPECT_EQ(cut[4].stop, StopReason::length);
  EXPECT_EQ(cut[5].token_ids, full[5].token_ids);
}

// Three slots: the fourth prompt takes the one that is free first, while the others go on.
TEST_F(Engine, AFreeSlotIsTakenBeforeTheOthersEnd) {
  GenerationConfig config;
  config.max_batch = 3;
  config.max_new_tokens = 20;
  std::vector<Prompt> prompts = some_prompts();
  prompts.resize(4);
  std::vector<int64_t> drawn;  // whose token it was, in order
  RolloutEngine::Callbacks callbacks;
  callbacks.on_token = [&](int64_t prompt, int64_t) {
    drawn.push_back(prompt);
    return prompt != 1 || std::ranges::count(drawn, 1) < 5;
  };
  (void)engine.generate(prompts, nullptr, config, nullptr, callbacks);
  const auto first_of_fourth = std::ranges::find(drawn, 3) - drawn.begin();
  for (const int64_t prompt : {0, 2}) {
    EXPECT_EQ(std::ranges::count(drawn, prompt), 20);
    EXPECT_EQ(std::count(drawn.begin(), drawn.begin() + first_of_fourth, prompt), 5)
        << "tokens of prompt " << prompt << " when the fourth entered";
  }
  EXPECT_EQ(std::ranges::count(drawn, 3), 20);
}

TEST_F(Engine, PenaltySeesPromptAndAnswer) {
  GenerationConfig config;
  config.sampling = {.temperature = 0.0, .repetition_penalty = 1e6};
  config.max_new_tokens = 20;
  for (const auto& completion : engine.generate(some_prompts(), nullptr, config)) {
    std::set<int64_t> seen(completion.prompt_ids.begin(), completion.prompt_ids.end());
    for (const int64_t token : completion.token_ids) {
      EXPECT_TRUE(seen.insert(token).second) << "token " << token << " came again";
    }
  }
}

TEST_F(Engine, RefusesPromptsThatCannotBeAnswered) {
  const auto message = [&](std::vector<int64_t> ids) -> std::string {
    try {
      (void)engine.generate({{{1, 2}, 0}, {std::move(ids), 77}}, nullptr, {});
    } catch (const FormatError& error) {
      return error.what();
    }
    return "";
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(message({}), HasSubstr("prompt 1 (sample 77) has no tokens"));
  EXPECT_THAT(message({5, 96}), HasSubstr("prompt 1 (sample 77): token 1 is 96"));
  EXPECT_THAT(message(random_ids(1, 64)), HasSubstr("leaves no room for an answer"));
  EXPECT_THAT(message(random_ids(1, 65)), HasSubstr("has 65 tokens"));
  EXPECT_EQ(message(random_ids(1, 63)), "");
  EXPECT_TRUE(engine.generate({}, nullptr, {}).empty());
  EXPECT_ANY_THROW(engine.generate({{{1}, 0}}, nullptr, {.max_new_tokens = 0}));
  EXPECT_ANY_THROW(engine.generate({{{1}, 0}}, nullptr, {.max_batch = 0}));
  const LinearHead two{.weight = normal_tensor({5, Purpose::noise}, {2, 32}, 0, 1)};
  EXPECT_ANY_THROW(engine.generate({{{1}, 0}}, nullptr, {}, &two));
}

TEST_F(Engine, LastPositionOfTheContextIsUsed) {
  GenerationConfig config;
  config.max_new_tokens = 10;
  const auto one = engine.generate({{random_ids(1, 63), 0}}, nullptr, config)[0];
  EXPECT_EQ(one.token_ids.size(), 1u);
  EXPECT_EQ(one.stop, StopReason::context);
  config.max_new_tokens = std::numeric_limits<int64_t>::max();
  const auto many = engine.generate({{random_ids(1, 1), 0}}, nullptr, config)[0];
  EXPECT_EQ(many.token_ids.size(), 63u);
}

TEST(EngineFloat64, RunsInTheDecodersType) {
  const auto decoder = tiny_decoder(at::kDouble);
  const RolloutEngine engine(decoder, std::nullopt);
  const auto all = engine.generate(some_prompts(), nullptr, sampling_config());
  const auto single = RolloutEngine(tiny_decoder(), std::nullopt)
                          .generate(some_prompts(), nullptr, sampling_config());
  for (size_t i = 0; i < all.size(); ++i) expect_near(all[i].logprobs, single[i].logprobs, 2e-5);
}

}  // namespace
}  // namespace leash
