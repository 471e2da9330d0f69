// A differentiable function as two lambdas over plain tensors: what the fused layers are made of.
// Internal to models/*.cpp (it includes LibTorch's autograd headers).
#pragma once

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace leash {

// The gradient function of one output. `backward` gets dL/doutput and returns one gradient per
// input (undefined: none). What it captures must be detached; it is dropped after use.
class FunctionNode final : public torch::autograd::Node {
 public:
  using Backward = std::function<torch::autograd::variable_list(const at::Tensor&)>;
  FunctionNode(std::string name, Backward backward)
      : name_(std::move(name)), backward_(std::move(backward)) {}
  std::string name() const override { return name_; }
  void release_variables() override { backward_ = nullptr; }
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    TORCH_CHECK(backward_, name_, ": backward through the same graph twice");
    const c10::AutoGradMode no_grad(false);
    return backward_(gradients[0].contiguous());
  }

 private:
  std::string name_;
  Backward backward_;
};

inline bool differentiable(const torch::autograd::variable_list& inputs) {
  return c10::GradMode::is_enabled() && torch::autograd::any_variable_requires_grad(inputs);
}

// Makes `output` (computed without autograd) the result of a function of `inputs`.
inline at::Tensor with_backward(at::Tensor output, const torch::autograd::variable_list& inputs,
                                const char* name, FunctionNode::Backward backward) {
  std::shared_ptr<FunctionNode> node(new FunctionNode(name, std::move(backward)),
                                     torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  torch::autograd::set_history(output, node);
  return output;
}

}  // namespace leash
