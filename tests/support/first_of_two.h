// Rank 0 of two whose other rank exists in thought alone: it has `factor - 1` times the same
// gradients, and nothing to add to sums. It notes what is sent, and when.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/graph_task.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rl/distributed/communicator.h"

namespace leash::testing {

class FirstOfTwo final : public Communicator {
 public:
  struct Sent {
    bool in_backward = false;
    std::vector<at::Tensor> values{};  // copies
    int64_t bytes() const {
      int64_t all = 0;
      for (const at::Tensor& value : values) all += static_cast<int64_t>(value.nbytes());
      return all;
    }
  };

  explicit FirstOfTwo(double factor = 1) : factor_(factor) {}
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  std::unique_ptr<PendingSums> start_all_reduce(const std::vector<at::Tensor>& tensors) override {
    Sent one{.in_backward = torch::autograd::get_current_graph_task_id() >= 0};
    for (const at::Tensor& tensor : tensors) one.values.push_back(tensor.detach().clone());
    sent.push_back(std::move(one));
    if (on_send) on_send();
    return std::make_unique<Pending>(tensors, factor_);
  }
  std::vector<std::string> all_gather(const std::string& bytes) override { return {bytes, ""}; }
  void report_failure(const std::exception&) noexcept override {}
  bool sums_beside_gathers() const override { return beside_gathers; }

  bool beside_gathers = true;
  std::vector<Sent> sent{};
  std::function<void()> on_send{};

 private:
  struct Pending final : PendingSums {
    Pending(std::vector<at::Tensor> of, double by) : tensors(std::move(of)), factor(by) {}
    void wait() override {
      for (const at::Tensor& tensor : tensors) {
        if (tensor.is_floating_point()) tensor.detach().mul_(factor);
      }
    }
    std::vector<at::Tensor> tensors;
    double factor;
  };
  double factor_;
};

// A step of few small parameters, which are one bucket: it was sent within a backward pass, as it
// was at the end of the step, and counts and sums after it.
inline void expect_sent_in_backward(const FirstOfTwo& communicator,
                                    const std::vector<at::Tensor>& parameters) {
  ASSERT_EQ(communicator.sent.size(), 2u);
  const FirstOfTwo::Sent &gradients = communicator.sent[0], &rest = communicator.sent[1];
  EXPECT_TRUE(gradients.in_backward);
  EXPECT_FALSE(rest.in_backward);
  ASSERT_EQ(gradients.values.size(), parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {  // the last one first
    EXPECT_TRUE(gradients.values[parameters.size() - 1 - i].equal(parameters[i].grad())) << i;
  }
}

}  // namespace leash::testing
