// Gradients and sums over ranks, and when they are sent; see communicator_test.cpp for how parts
// run as real processes.
#include "rl/distributed/gradient_sums.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "models/decoder/recompute.h"
#include "models/random/random.h"
#include "rl/optim/grad_scaler.h"
#include "tests/support/first_of_two.h"
#include "tests/support/rank_parts.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using leash::testing::all_close;
using leash::testing::connect;
using leash::testing::Ended;
using leash::testing::expect_all_pass;
using leash::testing::FirstOfTwo;
using leash::testing::Ranks;
using leash::testing::same_bits;
using leash::testing::start_parts;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Sums {
  double loss = 0;
  double largest = 0;
  int64_t rows = 0;
  void add(const Sums& other) {
    loss += other.loss;
    largest = std::max(largest, other.largest);
    rows += other.rows;
  }
};

at::Tensor leaf(at::IntArrayRef shape, uint64_t key = 0) {
  return uniform_tensor({key, Purpose::noise, 0, 0}, shape, -1, 1).requires_grad_(true);
}
at::Tensor parameter() { return leaf({2, 3}); }

void backward(const at::Tensor& loss) { torch::autograd::backward({loss}, {}); }

bool has_hook(const at::Tensor& parameter) {
  return torch::autograd::impl::post_acc_grad_hooks(parameter) != nullptr;
}

std::vector<at::Tensor> gradients_of(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& each : parameters) gradients.push_back(each.grad().clone());
  return gradients;
}

void clear(const std::vector<at::Tensor>& parameters) {
  for (at::Tensor each : parameters) each.mutable_grad().reset();
}

// What overflowed on one rank does so on all, beside what is fine, and against its opposite.
TEST(RankPart, DISABLED_Overflow) {
  const auto communicator = connect();
  const double infinity = std::numeric_limits<double>::infinity();
  const bool first = communicator->rank() == 0;
  for (const double other : {1.0, -infinity, std::nan("")}) {
    at::Tensor fine = leaf({3}), bad = leaf({2});
    fine.mutable_grad() = at::full({3}, 2.0, at::kFloat);
    bad.mutable_grad() = at::full({2}, first ? infinity : other, at::kFloat);
    GradientSums(*communicator, {fine, bad}).finish(Sums{});
    const GradScaler scaler({.init_scale = 4});
    EXPECT_TRUE(scaler.unscale({fine}));
    EXPECT_TRUE(all_close(fine.grad(), at::full({3}, 1.0, at::kFloat), 0));
    EXPECT_FALSE(scaler.unscale({fine, bad}));
  }
}

TEST(GradientSums, AnOverflowOfOneRankIsSeenByAll) {
  expect_all_pass(start_parts("DISABLED_Overflow", 2));
}

TEST(GradientBuckets, FillFromTheLastParameterOn) {
  const std::vector<at::Tensor> parameters = {leaf({10}), leaf({2}), leaf({3}), leaf({1})};
  EXPECT_THAT(gradient_buckets(parameters, 1),
              ElementsAre(ElementsAre(3), ElementsAre(2), ElementsAre(1), ElementsAre(0)));
  EXPECT_THAT(gradient_buckets(parameters, 16), ElementsAre(ElementsAre(3, 2), ElementsAre(1, 0)));
  EXPECT_THAT(gradient_buckets(parameters), ElementsAre(ElementsAre(3, 2, 1, 0)));
  EXPECT_TRUE(gradient_buckets({}).empty());
  // 40 of 1 MB make buckets of a sixteenth, 2.5 MB: whole parameters until it is reached.
  const std::vector<at::Tensor> large(40, at::zeros({1 << 18}));
  const auto buckets = gradient_buckets(large);
  ASSERT_EQ(buckets.size(), 14u);
  EXPECT_THAT(buckets[0], ElementsAre(39, 38, 37));
}

// Three layers; `order` says which weight each of them uses.
struct Chain {
  std::vector<at::Tensor> weights = {leaf({4, 4}, 1), leaf({4, 4}, 2), leaf({4, 4}, 3)};
  at::Tensor first_state{};  // of the last call, behind the first layer

  at::Tensor loss(const std::vector<size_t>& order, uint64_t key = 9) {
    at::Tensor state = uniform_tensor({key, Purpose::noise, 0, 0}, {2, 4}, -1, 1);
    for (size_t i = 0; i < order.size(); ++i) {
      state = state.matmul(weights[order[i]]).tanh();
      if (i == 0) first_state = state;
    }
    return state.sum();
  }
};

TEST(GradientSums, ABucketIsSentAsSoonAsItIsFinal) {
  Chain chain;
  FirstOfTwo communicator(/*factor=*/3);
  GradientSums sums(communicator, chain.weights, /*bucket_bytes=*/1);
  backward(chain.loss({0, 1, 2}, 8));
  EXPECT_TRUE(communicator.sent.empty());  // not the last pass
  sums.next_backward_is_last();
  const at::Tensor loss = chain.loss({0, 1, 2});
  size_t sent_before_the_first_layer = 0;
  chain.first_state.register_hook([&](const at::Tensor& gradient) {
    sent_before_the_first_layer = communicator.sent.size();
    return gradient;
  });
  backward(loss);
  EXPECT_EQ(sent_before_the_first_layer, 2u);
  ASSERT_EQ(communicator.sent.size(), 3u);
  const std::vector<at::Tensor> own = gradients_of(chain.weights);
  const Sums total = sums.finish(Sums{.loss = 2, .largest = 3, .rows = 4});
  ASSERT_EQ(communicator.sent.size(), 4u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(communicator.sent[i].in_backward);
    EXPECT_TRUE(same_bits(communicator.sent[i].values.at(0), own[2 - i]));
    EXPECT_TRUE(same_bits(chain.weights[i].grad(), own[i].mul(3)));
    EXPECT_FALSE(has_hook(chain.weights[i]));
  }
  EXPECT_FALSE(communicator.sent[3].in_backward);
  EXPECT_EQ(total.loss, 2);
  EXPECT_EQ(total.rows, 4);
}

// The pass gathers its weights by a way that sums must not share: all are sent when it is over, the
// same ones in the same order.
TEST(GradientSums, WaitForGathersWhereTheyMustNotRunBesideThem) {
  std::vector<std::vector<FirstOfTwo::Sent>> sent;
  for (const bool beside : {true, false}) {
    Chain chain;
    FirstOfTwo communicator;
    communicator.beside_gathers = beside;
    GradientSums sums(communicator, chain.weights, 1);
    sums.next_backward_is_last();
    backward(chain.loss({0, 1, 2}));
    EXPECT_EQ(communicator.sent.size(), beside ? 3u : 0u);
    (void)sums.finish(Sums{.loss = 2});
    EXPECT_FALSE(has_hook(chain.weights[0]));
    sent.push_back(communicator.sent);
  }
  ASSERT_EQ(sent[0].size(), sent[1].size());
  for (size_t i = 0; i < sent[0].size(); ++i) {
    EXPECT_TRUE(same_bits(sent[0][i].values.at(0), sent[1][i].values.at(0))) << i;
  }
}

// Weight 1 is used before weight 0, so its gradient comes last: bucket 1 waits, and so does 0's.
TEST(GradientSums, BucketsKeepTheirOrder) {
  Chain chain;
  FirstOfTwo communicator;
  GradientSums sums(communicator, chain.weights, 1);
  sums.next_backward_is_last();
  const at::Tensor loss = chain.loss({1, 0, 2});
  size_t sent_before_the_first_layer = 0;
  chain.first_state.register_hook([&](const at::Tensor& gradient) {
    sent_before_the_first_layer = communicator.sent.size();
    return gradient;
  });
  backward(loss);
  EXPECT_EQ(sent_before_the_first_layer, 1u);
  ASSERT_EQ(communicator.sent.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(same_bits(communicator.sent[i].values.at(0), chain.weights[2 - i].grad()));
  }
  (void)sums.finish(Sums{});
}

// Every use of a parameter counts, plain or in a block that is computed again, before it is sent.
TEST(GradientSums, AParameterThatIsUsedSeveralTimesIsSentOnce) {
  Chain chain;
  const auto loss = [&] {
    const auto block = [&](const at::Tensor& x) {
      return x.matmul(chain.weights[2]).tanh().matmul(chain.weights[2]);
    };
    const at::Tensor x = chain.loss({2, 0, 2}).mul(chain.weights[1]);
    return recomputed(block, x, {chain.weights[2]}).sum();
  };
  backward(loss());
  const std::vector<at::Tensor> expected = gradients_of(chain.weights);
  clear(chain.weights);
  FirstOfTwo communicator;
  GradientSums sums(communicator, chain.weights, 1);
  sums.next_backward_is_last();
  backward(loss());
  ASSERT_EQ(communicator.sent.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(same_bits(communicator.sent[i].values.at(0), expected[2 - i])) << i;
  }
  (void)sums.finish(Sums{});
}

// Weight 1 gets no gradient in the last pass, but had one before; a fourth gets none at all.
TEST(GradientSums, WhatTheLastPassDoesNotReachIsSentAtTheEnd) {
  Chain chain;
  chain.weights.insert(chain.weights.begin(), leaf({4, 4}, 4));
  FirstOfTwo communicator(2);
  GradientSums sums(communicator, chain.weights, 1);
  backward(chain.loss({1, 2, 3}));
  sums.next_backward_is_last();
  backward(chain.loss({1, 3}));
  const std::vector<at::Tensor> own = {chain.weights[1].grad().clone(),
                                       chain.weights[2].grad().clone(),
                                       chain.weights[3].grad().clone()};
  EXPECT_EQ(communicator.sent.size(), 1u);
  (void)sums.finish(Sums{});
  EXPECT_EQ(communicator.sent.size(), 5u);
  EXPECT_FALSE(chain.weights[0].grad().defined());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(same_bits(chain.weights[i + 1].grad(), own[i].mul(2))) << i;
  }
}

TEST(GradientSums, APassAfterTheLastOneIsAnError) {
  Chain chain;
  FirstOfTwo communicator;
  {
    GradientSums sums(communicator, chain.weights);
    sums.next_backward_is_last();
    backward(chain.loss({0, 1, 2}));
    EXPECT_THROW(backward(chain.loss({0, 1, 2})), c10::Error);
    EXPECT_THROW(sums.next_backward_is_last(), c10::Error);
  }
  for (const at::Tensor& weight : chain.weights) EXPECT_FALSE(has_hook(weight));
  GradientSums twice(communicator, {chain.weights[0], chain.weights[0]});
  EXPECT_THROW(twice.next_backward_is_last(), c10::Error);
}

// What goes wrong in sending reaches whoever runs the pass, under its own type.
TEST(GradientSums, AnErrorInSendingEndsTheBackwardPass) {
  Chain chain;
  FirstOfTwo communicator;
  communicator.on_send = [&] {
    if (communicator.sent.size() == 2) throw CommunicationError("rank 1 is gone");
  };
  {
    GradientSums sums(communicator, chain.weights, 1);
    sums.next_backward_is_last();
    try {
      backward(chain.loss({0, 1, 2}));
      ADD_FAILURE() << "nothing was thrown";
    } catch (const CommunicationError& error) {
      EXPECT_STREQ(error.what(), "rank 1 is gone");
    }
  }
  communicator.on_send = nullptr;
  communicator.sent.clear();
  backward(chain.loss({0, 1, 2}));  // no hook is left
  EXPECT_TRUE(communicator.sent.empty());
}

TEST(GradientSums, OneRankKeepsItsOwnAndHasNoHooks) {
  const auto alone = single_communicator();
  std::vector<at::Tensor> parameters = {parameter(), parameter()};
  GradientSums sums(*alone, parameters);
  sums.next_backward_is_last();
  EXPECT_FALSE(has_hook(parameters[0]));
  parameters[0].mutable_grad() = at::full({2, 3}, 2, at::kFloat);
  const Sums total = sums.finish(Sums{.loss = 3, .largest = 4, .rows = 5});
  EXPECT_EQ(total.loss, 3);
  EXPECT_EQ(total.rows, 5);
  EXPECT_TRUE(at::equal(parameters[0].grad(), at::full({2, 3}, 2, at::kFloat)));
  EXPECT_FALSE(parameters[1].grad().defined());
}

// Rank r has the gradient r + 1 for the first parameter, only rank 0 one for the second, nobody one
// for the third; the last rank has none at all.
TEST(RankPart, DISABLED_Sums) {
  const auto communicator = connect();
  const int64_t rank = communicator->rank(), size = communicator->size();
  const bool idle = rank == size - 1;
  std::vector<at::Tensor> parameters = {parameter(), parameter(), parameter()};
  if (!idle) parameters[0].mutable_grad() = at::full({2, 3}, rank + 1, at::kFloat);
  if (rank == 0) parameters[1].mutable_grad() = at::full({2, 3}, 7, at::kFloat);
  const Sums own = idle ? Sums{} : Sums{.loss = 0.5, .largest = 1.0 * (size - rank), .rows = 2};
  const Sums total = sum_over_ranks(*communicator, parameters, own);
  const int64_t busy = size - 1;
  EXPECT_EQ(total.loss, 0.5 * static_cast<double>(busy));
  EXPECT_EQ(total.largest, static_cast<double>(size));
  EXPECT_EQ(total.rows, 2 * busy);
  ASSERT_TRUE(parameters[0].grad().defined());
  EXPECT_TRUE(at::equal(parameters[0].grad(), at::full({2, 3}, busy * (busy + 1) / 2, at::kFloat)));
  ASSERT_TRUE(parameters[1].grad().defined());
  EXPECT_TRUE(at::equal(parameters[1].grad(), at::full({2, 3}, 7, at::kFloat)));
  EXPECT_FALSE(parameters[2].grad().defined());
}

TEST(GradientSums, SumsOverTwoAndThreeRanks) {
  expect_all_pass(start_parts("DISABLED_Sums", 2));
  expect_all_pass(start_parts("DISABLED_Sums", 3));
}

// A deep chain whose ranks are late at different layers, see other data in 0 to 3 passes (`turn`
// says who has how many) and, but for rank 0, do not reach one of the weights in the last pass.
class LateRanks {
 public:
  explicit LateRanks(Communicator& communicator) : communicator_(communicator) {
    for (uint64_t i = 0; i < kLayers; ++i) weights.push_back(leaf({kWidth, kWidth}, i));
  }

  // The sums of a step. `overlap`: sent during the last pass.
  std::vector<at::Tensor> step(bool overlap, int64_t bucket_bytes, int64_t turn) {
    clear(weights);
    GradientSums sums(communicator_, weights, bucket_bytes);
    const int64_t rank = communicator_.rank();
    const int64_t num_passes = (rank + 3 + turn) % 4;
    for (int64_t pass = 0; pass < num_passes; ++pass) {
      const bool last = pass + 1 == num_passes;
      if (last && overlap) sums.next_backward_is_last();
      backward(loss(static_cast<uint64_t>(10 * rank + pass), last && rank > 0 ? 3 : -1));
    }
    const Sums total = sums.finish(Sums{.rows = num_passes});
    EXPECT_EQ(total.rows, communicator_.size() == 2 ? 3 : 6);
    return gradients_of(weights);
  }

  std::vector<at::Tensor> weights;

 private:
  static constexpr int64_t kLayers = 8, kWidth = 16;

  at::Tensor loss(uint64_t key, int64_t left_out) {
    at::Tensor state = uniform_tensor({key, Purpose::noise, 1, 0}, {5, kWidth}, -1, 1);
    for (int64_t i = 0; i < kLayers; ++i) {
      if (i == left_out) continue;
      state = state.matmul(weights[static_cast<size_t>(i)]).tanh();
      const auto late = std::chrono::milliseconds(7 * ((3 * i + communicator_.rank()) % 5));
      state.register_hook([late](const at::Tensor& gradient) {
        std::this_thread::sleep_for(late);
        return gradient;
      });
    }
    return state.sum();
  }

  Communicator& communicator_;
};

TEST(RankPart, DISABLED_LateRanks) {
  const auto communicator = connect();
  LateRanks ranks(*communicator);
  for (const int64_t turn : {0, 2}) {  // two ranks: 3 and 0 passes, 1 and 2
    const auto plain = ranks.step(/*overlap=*/false, /*bucket_bytes=*/3000, turn);
    const auto overlapped = ranks.step(/*overlap=*/true, 3000, turn);
    const auto at_once = ranks.step(/*overlap=*/false, 1 << 30, turn);
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_TRUE(same_bits(overlapped[i], plain[i])) << i;
      // Where a number stands among others decides from which rank on a ring adds it up.
      if (communicator->size() == 2) {
        EXPECT_TRUE(same_bits(at_once[i], plain[i])) << i;
      }
      EXPECT_TRUE(all_close(at_once[i], plain[i], 1e-6, 1e-6)) << i;
    }
    // All ranks have the same bits.
    for (const at::Tensor& sum : overlapped) {
      const std::string own(static_cast<const char*>(sum.const_data_ptr()), sum.nbytes());
      for (const std::string& each : communicator->all_gather(own)) EXPECT_TRUE(each == own);
    }
  }
}

TEST(ThreadsGradientSums, TwoLateRanks) { expect_all_pass(start_parts("DISABLED_LateRanks", 2)); }
TEST(GradientSums, FourLateRanks) { expect_all_pass(start_parts("DISABLED_LateRanks", 4)); }

// The second rank ends when it has sent its first bucket, in the midst of its backward pass.
TEST(RankPart, DISABLED_KilledInBackward) {
  const auto communicator = connect();
  communicator->barrier();
  Chain chain;
  GradientSums sums(*communicator, chain.weights, 1);
  sums.next_backward_is_last();
  const at::Tensor loss = chain.loss({0, 1, 2});
  chain.first_state.register_hook([&](const at::Tensor& gradient) {
    if (communicator->rank() == 1) ::raise(SIGKILL);
    return gradient;
  });
  backward(loss);
  (void)sums.finish(Sums{});
}

TEST(GradientSums, ARankThatIsKilledInItsBackwardPassIsNamed) {
  Ranks ranks = start_parts("DISABLED_KilledInBackward", 3);
  EXPECT_EQ(ranks[1].wait().signal, SIGKILL);
  for (const int64_t rank : {0, 2}) {
    const Ended ended = ranks[rank].wait();
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.out, HasSubstr("rank 1 ended or hangs: no sign of life"));
  }
}

// The same by an exception of its own: it says why, and does not wait for what it sent.
TEST(RankPart, DISABLED_ThrowsInBackward) {
  const auto communicator = connect();
  communicator->barrier();
  Chain chain;
  GradientSums sums(*communicator, chain.weights, 1);
  sums.next_backward_is_last();
  const at::Tensor loss = chain.loss({0, 1, 2});
  chain.first_state.register_hook([&](const at::Tensor& gradient) {
    if (communicator->rank() == 1) throw std::runtime_error("out of memory");
    return gradient;
  });
  try {
    backward(loss);
  } catch (const std::runtime_error& error) {
    communicator->report_failure(error);
    return;
  }
  (void)sums.finish(Sums{});
}

TEST(ThreadsGradientSums, AnErrorInABackwardPassIsNamedByTheOthers) {
  Ranks ranks = start_parts("DISABLED_ThrowsInBackward", 2);
  const auto ended = ranks.wait();
  EXPECT_EQ(ended[1].code, 0) << ended[1].out;
  EXPECT_EQ(ended[0].code, 1);
  EXPECT_THAT(ended[0].out, HasSubstr("rank 1 failed: out of memory"));
}

// Times of a timeline's overlapping spans by name, in the order of their beginnings.
std::map<std::string, std::vector<std::pair<double, double>>> spans_of(std::string text) {
  text.replace(text.size() - 2, 2, "]");
  std::map<int64_t, std::pair<double, double>> times;
  std::map<int64_t, std::string> names;
  for (const auto& event : nlohmann::json::parse(text)) {
    const int64_t id = event.at("id");
    names[id] = event.at("name");
    (event.at("ph") == "b" ? times[id].first : times[id].second) = event.at("ts");
  }
  std::map<std::string, std::vector<std::pair<double, double>>> spans;
  for (const auto& [id, name] : names) spans[name].push_back(times[id]);
  for (auto& [name, each] : spans) std::ranges::sort(each);
  return spans;
}

TEST(RankPart, DISABLED_Timeline) {
  const auto communicator = connect();
  const leash::testing::ScratchFolder folder;
  communicator->show_in(std::make_shared<Timeline>(folder / "timeline.json"));
  Chain chain;
  GradientSums sums(*communicator, chain.weights, 1);
  sums.next_backward_is_last();
  const at::Tensor loss = chain.loss({0, 1, 2});
  chain.first_state.register_hook([](const at::Tensor& gradient) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return gradient;
  });
  backward(loss);
  (void)sums.finish(Sums{});
  const auto spans = spans_of(leash::testing::read_text(folder / "timeline.json"));
  ASSERT_EQ(spans.at("last pass").size(), 1u);
  const auto& sent = spans.at("all-reduce");
  ASSERT_EQ(sent.size(), 5u);  // three gradients, counts, sums
  for (const auto& [begin, end] : sent) EXPECT_LE(begin, end);
  const double pass_ends = spans.at("last pass")[0].second;
  EXPECT_LT(sent[0].first, pass_ends - 20000);
  EXPECT_LT(sent[1].first, pass_ends - 20000);
  EXPECT_LT(sent[2].first, pass_ends);
  EXPECT_GE(sent[3].first, pass_ends);
}

TEST(ThreadsGradientSums, ATimelineShowsTheOverlap) {
  expect_all_pass(start_parts("DISABLED_Timeline", 2));
}

}  // namespace
}  // namespace leash
