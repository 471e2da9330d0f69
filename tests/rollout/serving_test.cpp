// The serving engine on a tiny random model: what comes while others decode, in whatever company,
// gets the answer that it gets alone.
#include "rollout/serving.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <thread>

#include "models/errors.h"
#include "rollout/scoring.h"
#include "tests/rollout/texts.h"
#include "tests/rollout/tiny_tokenizer.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using namespace std::chrono_literals;
using testing::random_ids;
using testing::tiny_adapter;
using testing::tiny_decoder;
using testing::tiny_tokenizer;

struct Served {
  std::vector<ScoredToken> prompt, tokens;
  std::optional<StopReason> stop;
  std::string text;
};

std::vector<Served> all_of(ServingTicket& ticket, size_t requests) {
  std::vector<Served> served(requests);
  while (!ticket.done()) {
    for (ServingEvent& event : ticket.wait(10s)) {
      Served& one = served[event.request];
      EXPECT_FALSE(one.stop) << "nothing follows the end";
      one.prompt.insert(one.prompt.end(), event.prompt.begin(), event.prompt.end());
      if (event.token) one.tokens.push_back(*event.token);
      if (event.stop) one.stop = event.stop, one.text = event.text;
    }
  }
  return served;
}

std::vector<int64_t> ids_of(const std::vector<ScoredToken>& tokens) {
  std::vector<int64_t> ids;
  for (const ScoredToken& token : tokens) ids.push_back(token.token);
  return ids;
}

class Serving : public ::testing::Test {
 protected:
  ServingRequest request(uint64_t seed, int64_t length, const Adapter* adapter) const {
    ServingRequest result{.ids = random_ids(seed, length), .adapter = adapter};
    result.generation.max_new_tokens = 6 + static_cast<int64_t>(seed % 9);
    result.generation.eos_token_ids = {2, 40};
    result.generation.seed = 50 + seed;
    result.generation.sampling.temperature = seed % 4 == 0 ? 0.0 : 0.8;
    if (seed % 3 == 0) result.generation.sampling.top_p = 0.9;
    result.sample = seed * seed;
    result.token_scores = true;
    return result;
  }
  // Of base and two adapters, with long prompts among short ones, and some that begin alike.
  std::vector<ServingRequest> mixed() const {
    const Adapter* adapters[] = {nullptr, &first, &second};
    std::vector<ServingRequest> requests;
    for (uint64_t i = 0; i < 18; ++i) {
      requests.push_back(
          request(i, i % 5 == 0 ? 40 : 3 + static_cast<int64_t>(i % 4), adapters[(i * 7) % 3]));
      if (i % 6 != 5) continue;
      const auto prefix = random_ids(99, 20);
      requests.back().ids.insert(requests.back().ids.begin(), prefix.begin(), prefix.end());
      requests.push_back(requests.back());  // the same question twice, drawn otherwise
      requests.back().sample += 1000;
    }
    return requests;
  }
  Completion alone(const ServingRequest& asked) const {
    const RolloutEngine engine(decoder, tiny_tokenizer());
    return engine.generate({{asked.ids, asked.sample}}, asked.adapter, asked.generation).front();
  }
  void expect_alone(const Served& served, const ServingRequest& asked) const {
    const Completion wanted = alone(asked);
    EXPECT_EQ(ids_of(served.tokens), wanted.token_ids);
    EXPECT_EQ(served.stop, wanted.stop);
    EXPECT_EQ(served.text, wanted.text);
    ScoredText text{asked.ids, std::ssize(asked.ids)};
    text.ids.insert(text.ids.end(), wanted.token_ids.begin(), wanted.token_ids.end());
    const auto plain = score_texts(*decoder, asked.adapter, {&text, 1}).front().logprobs;
    ASSERT_EQ(served.tokens.size(), plain.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_NEAR(served.tokens[i].logprob, plain[i], 1e-4) << "at temperature 1, token " << i;
    }
  }

  std::shared_ptr<const Decoder> decoder = tiny_decoder();
  Adapter first = tiny_adapter(*decoder, 3), second = tiny_adapter(*decoder, 4);
  ServingConfig config{.max_batch = 5, .max_waiting = 64, .context = 64, .prefill_tokens = 7};
};

TEST_F(Serving, AnswersAreThoseOfTheRequestsAlone) {
  ServingEngine engine(decoder, tiny_tokenizer(), config);
  const auto requests = mixed();
  std::vector<std::shared_ptr<ServingTicket>> tickets;
  for (const auto& asked : requests) tickets.push_back(engine.submit({asked}));
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_NE(tickets[i], nullptr);
    expect_alone(all_of(*tickets[i], 1).front(), requests[i]);
  }
  EXPECT_GT(engine.counts().reused_tokens, 0) << "questions that begin alike share rows";
}

TEST_F(Serving, ALaterRequestFindsTheRowsOfAnEarlierOne) {
  ServingEngine engine(decoder, tiny_tokenizer(), config);
  ServingRequest asked = request(1, 30, &first);
  const auto turn = all_of(*engine.submit({asked}), 1).front();
  expect_alone(turn, asked);
  const int64_t before = engine.counts().reused_tokens;
  ServingRequest next = asked;  // the next turn of a conversation
  for (const ScoredToken& token : turn.tokens) next.ids.push_back(token.token);
  next.ids.push_back(17);
  next.adapter = &second;  // whose rows are others
  expect_alone(all_of(*engine.submit({next}), 1).front(), next);
  EXPECT_EQ(engine.counts().reused_tokens, before);
  next.adapter = &first;
  expect_alone(all_of(*engine.submit({next}), 1).front(), next);
  EXPECT_GE(engine.counts().reused_tokens, before + 30);
}

TEST_F(Serving, PromptScoresAreThoseOfScoring) {
  ServingEngine engine(decoder, tiny_tokenizer(), config);
  for (const Adapter* adapter : {static_cast<const Adapter*>(nullptr), &std::as_const(first)}) {
    for (const int64_t most : {0, 1}) {
      ServingRequest asked{.ids = random_ids(8, 40), .adapter = adapter};
      asked.generation.max_new_tokens = most;
      asked.prompt_scores = asked.token_scores = true;
      asked.num_top = 3;
      const auto tickets = {engine.submit({asked}), engine.submit({asked, asked})};
      for (const auto& ticket : tickets) {
        const auto served = all_of(*ticket, ticket == *tickets.begin() ? 1 : 2);
        for (const Served& one : served) {
          EXPECT_EQ(std::ssize(one.tokens), most);
          EXPECT_EQ(one.stop, StopReason::length);
          const ScoredText text{asked.ids, 1};
          const auto wanted = score_texts(*decoder, adapter, {&text, 1}).front().logprobs;
          ASSERT_EQ(one.prompt.size(), wanted.size());
          for (size_t i = 0; i < wanted.size(); ++i) {
            EXPECT_EQ(one.prompt[i].token, asked.ids[i + 1]);
            EXPECT_NEAR(one.prompt[i].logprob, wanted[i], 1e-4);
            ASSERT_EQ(one.prompt[i].top.size(), 3u);
            EXPECT_GE(one.prompt[i].top[0].logprob, one.prompt[i].logprob);
            EXPECT_GE(one.prompt[i].top[1].logprob, one.prompt[i].top[2].logprob);
          }
        }
      }
    }
  }
}

TEST_F(Serving, OneTokenAndNothingToDraw) {
  ServingEngine engine(decoder, std::nullopt, config);
  ServingRequest asked{.ids = {5}};
  asked.generation.max_new_tokens = 0;
  asked.prompt_scores = true;
  const auto served = all_of(*engine.submit({asked}), 1).front();
  EXPECT_TRUE(served.prompt.empty() && served.tokens.empty());
  EXPECT_EQ(served.stop, StopReason::length);
}

TEST_F(Serving, AShortPromptDoesNotWaitForALongOne) {
  config.prefill_tokens = 4;
  ServingEngine engine(decoder, std::nullopt, config);
  ServingRequest slow = request(1, 60, nullptr), quick = request(2, 3, nullptr);
  slow.generation.max_new_tokens = 1;
  quick.generation.max_new_tokens = 5;
  const auto both = engine.submit({slow, quick});
  std::vector<size_t> order;
  while (!both->done()) {
    for (const ServingEvent& event : both->wait(10s)) {
      if (event.stop) order.push_back(event.request);
    }
  }
  EXPECT_EQ(order, (std::vector<size_t>{1, 0}));
}

TEST_F(Serving, WhatDoesNotFitIsRefused) {
  config.context = 20;
  config.max_waiting = 2;
  ServingEngine engine(decoder, std::nullopt, config);
  ServingRequest asked{.ids = random_ids(1, 20)};
  EXPECT_THROW(engine.submit({asked}), FormatError) << "no room for an answer";
  asked.generation.max_new_tokens = 0;
  EXPECT_EQ(all_of(*engine.submit({asked}), 1).front().stop, StopReason::length);
  asked.ids = {1, 96};
  EXPECT_THROW(engine.submit({asked}), FormatError);
  asked.ids = {};
  EXPECT_THROW(engine.submit({asked}), FormatError);
  asked.ids = {1, 2};
  EXPECT_EQ(engine.submit({asked, asked, asked}), nullptr) << "the queue has room for two";
  asked.generation.max_new_tokens = 1'000'000;
  asked.generation.min_new_tokens = 1'000'000;
  EXPECT_EQ(all_of(*engine.submit({asked}), 1).front().stop, StopReason::context);
}

TEST_F(Serving, AnAdapterThatGivesNaNEndsItsOwnAnswersAlone) {
  for (const at::Tensor& tensor : first.parameters()) tensor.detach().fill_(std::nan(""));
  ServingEngine engine(decoder, tiny_tokenizer(), config);
  const auto bad = engine.submit({request(1, 4, &first)});
  const auto good = request(2, 4, &second);
  const auto fine = engine.submit({good});
  EXPECT_THROW(all_of(*bad, 1), NonFinite);
  expect_alone(all_of(*fine, 1).front(), good);
}

// Under ThreadSanitizer: many clients, some of whom leave.
TEST(ThreadsServing, ClientsComeAndGo) {
  const auto decoder = tiny_decoder();
  ServingEngine engine(decoder, std::nullopt,
                       {.max_batch = 3, .max_waiting = 100, .context = 64, .prefill_tokens = 8});
  std::vector<std::jthread> clients;
  for (uint64_t client = 0; client < 8; ++client) {
    clients.emplace_back([&engine, client] {
      for (uint64_t turn = 0; turn < 4; ++turn) {
        ServingRequest asked{.ids = random_ids(client * 10 + turn, 5 + 4 * turn)};
        asked.generation.max_new_tokens = 20;
        const auto ticket = engine.submit({asked, asked});
        if ((client + turn) % 3 == 0) {
          ticket->wait(1ms);
          ticket->cancel();
          continue;
        }
        for (const Served& served : all_of(*ticket, 2)) EXPECT_TRUE(served.stop);
      }
    });
  }
  clients.clear();
  // A client that left does not keep its slot: all three are there for others.
  for (int i = 0; i < 3; ++i) {
    ServingRequest asked{.ids = {1, 2, 3}};
    all_of(*engine.submit({asked}), 1);
  }
  EXPECT_EQ(engine.counts().waiting, 0);
}

TEST(ThreadsServing, TheEndOfTheEngineEndsWhatIsOpen) {
  std::shared_ptr<ServingTicket> ticket;
  {
    ServingEngine engine(tiny_decoder(), std::nullopt, {.context = 64});
    ServingRequest asked{.ids = {1, 2, 3}};
    asked.generation.max_new_tokens = 60;
    ticket = engine.submit(std::vector<ServingRequest>(20, asked));
  }
  EXPECT_THROW(while (true) ticket->wait(1ms), std::runtime_error);
}

}  // namespace
}  // namespace leash
