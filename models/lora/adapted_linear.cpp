#include "models/lora/adapted_linear.h"

#include <ATen/ops/cat.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <utility>

#include "models/device/device.h"
#include "models/kernels/matrix_product.h"
#include "models/lora/leaf_gradient.h"
#include "models/lora/lora.h"
#include "models/random/random.h"

namespace leash {
namespace {

// What one adapter adds to one module's columns for some rows.
struct Update {
  int64_t row = 0, num_rows = 0;
  int64_t column = 0, num_columns = 0;
  const LoraWeights* lora = nullptr;
  const at::Tensor* weight_copy = nullptr;
  const at::Tensor* bias_copy = nullptr;
  double dropout = 0.0;
  int64_t module = 0;

  at::Tensor rows_of(const at::Tensor& x) const { return x.narrow(0, row, num_rows); }
  at::Tensor block_of(const at::Tensor& y) const {
    return y.narrow(0, row, num_rows).narrow(1, column, num_columns);
  }
};

std::vector<Update> collect_updates(const LinearGroup& group, const AdapterRows& adapters,
                                    int64_t num_rows, bool with_dropout) {
  std::vector<Update> updates;
  int64_t row = 0;
  for (const AdapterRows::Range& range : adapters.ranges) {
    const int64_t rows = range.num_rows < 0 ? num_rows - row : range.num_rows;
    TORCH_CHECK(row + rows <= num_rows, "adapter rows exceed the batch: ", row + rows, " of ",
                num_rows);
    int64_t column = 0;
    for (const LinearPart& part : group.parts) {
      if (range.adapter != nullptr && rows > 0) {
        Update update{
            .row = row, .num_rows = rows, .column = column, .num_columns = part.num_columns};
        update.lora = range.adapter->lora(part.module);
        update.weight_copy = range.adapter->weight_copy(part.module);
        update.bias_copy = range.adapter->bias_copy(part.module);
        update.dropout = with_dropout ? range.adapter->config().lora_dropout : 0.0;
        update.module = part.module;
        if (update.lora != nullptr || update.weight_copy != nullptr ||
            update.bias_copy != nullptr) {
          updates.push_back(update);
        }
      }
      column += part.num_columns;
    }
    row += rows;
  }
  return updates;
}

// The mask of an update's input: 0 or 1/(1-p), drawn from (seed, step, sample, module) and the
// place in the sequence alone, so that the backward pass draws it again instead of keeping it.
at::Tensor dropout_mask(const Update& update, const DropoutKey& key,
                        const std::vector<int64_t>& lengths, int64_t in_features,
                        const at::TensorOptions& options) {
  std::vector<at::Tensor> masks;
  int64_t row = 0;
  for (size_t i = 0; i < lengths.size(); row += lengths[i++]) {
    if (row < update.row || row >= update.row + update.num_rows) continue;
    const DrawKey draw{key.seed, Purpose::dropout, key.step, key.samples.at(i),
                       static_cast<uint64_t>(update.module)};
    masks.push_back(uniform_tensor(draw, {lengths[i], in_features}, 0.0, 1.0, options.device()));
  }
  return at::cat(masks).ge(update.dropout).to(options.dtype()).div_(1.0 - update.dropout);
}

// The rows that an update reads, in its dtype. `wide` is x in that dtype where it was asked for
// before: the modules of a group share it.
at::Tensor update_input(const Update& update, const at::Tensor& x, const DropoutKey* dropout,
                        const std::vector<int64_t>* lengths, at::ScalarType dtype,
                        at::Tensor& wide) {
  if (!wide.defined() || wide.scalar_type() != dtype) wide = x.to(dtype);
  at::Tensor rows = update.rows_of(wide);
  if (update.dropout == 0.0) return rows;
  return rows.mul(dropout_mask(update, *dropout, *lengths, x.size(1), rows.options()));
}

// block = scale left right in the block's dtype, or added to what is there; straight into the block
// where the dtypes agree.
void put_product(const at::Tensor& block, const at::Tensor& left, const at::Tensor& right, bool add,
                 double scale = 1.0) {
  at::Tensor target = block;
  if (block.scalar_type() == left.scalar_type() && left.scalar_type() == right.scalar_type()) {
    matrix_product_into(target, left, right, add, scale);
    return;
  }
  const at::Tensor product = matrix_product(left.to(right.scalar_type()), right);
  if (!add) {
    target.copy_(scale == 1.0 ? product : product.mul(scale));
  } else if (block.is_cuda()) {
    target.add_(product, scale);  // a CPU would convert whole blocks
  } else {
    target.add_((scale == 1.0 ? product : product.mul(scale)).to(block.scalar_type()));
  }
}

// Whether trained copies stand in for all of the base (a fully trained model): its product is then
// left out.
bool covers_everything(const std::vector<Update>& updates, int64_t num_rows, int64_t num_columns) {
  int64_t covered = 0;
  for (const Update& update : updates) {
    if (update.weight_copy != nullptr) covered += update.num_rows * update.num_columns;
  }
  return covered == num_rows * num_columns;
}

struct AdaptedLinearBackward final : torch::autograd::Node {
  std::shared_ptr<const WeightSource> weight;
  std::vector<Update> updates;
  std::vector<LoraWeights>
      loras;  // the tensors that updates point to, kept alive, detached; one per update
  std::vector<at::Tensor> weight_copies;  // the leaves; likewise
  std::vector<at::Tensor> projections;    // drop(x) Aᵀ, one per update; [rows, r]
  at::Tensor x;                           // [rows, in], only kept where an update needs it
  std::optional<DropoutKey> dropout;
  std::vector<int64_t> lengths;

  std::string name() const override { return "AdaptedLinearBackward"; }
  void release_variables() override {
    x = at::Tensor();
    projections.clear();
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    const c10::AutoGradMode no_grad(false);
    const at::Tensor dy = gradients[0].contiguous();  // [rows, columns]
    torch::autograd::variable_list result(num_outputs());
    size_t output = 0;
    const bool need_dx = task_should_compute_output(output);
    at::Tensor dx = need_dx ? base_input_gradient(dy) : at::Tensor();
    at::Tensor wide;
    output = 1;
    for (size_t i = 0; i < updates.size(); ++i) {
      const Update& update = updates[i];
      const at::Tensor dy_block = update.block_of(dy);
      if (update.weight_copy != nullptr) {
        if (need_dx) add_copy_gradient(i, dy, dx);
        if (task_should_compute_output(output)) {
          result[output] = leaf_product_gradient(weight_copies[i], dy_block.t(), update.rows_of(x));
        }
        ++output;
      }
      if (update.bias_copy != nullptr) {
        if (task_should_compute_output(output)) result[output] = dy_block.sum(0);
        ++output;
      }
      if (update.lora != nullptr) {
        lora_gradients(i, dy_block, need_dx ? &dx : nullptr, output, result, wide);
        output += 2;
      }
    }
    result[0] = dx;
    return result;
  }

 private:
  // Where copies stand for all of the base nothing is written yet: add_copy_gradient() does, for
  // the first copy of each range of rows.
  at::Tensor base_input_gradient(const at::Tensor& dy) const {
    at::Tensor base = dy;
    if (covers_everything(updates, dy.size(0), dy.size(1)))
      return dy.new_empty({dy.size(0), weight->in_features()});
    for (const Update& update : updates) {
      if (update.weight_copy == nullptr) continue;  // those columns did not come from the base
      if (base.is_same(dy)) base = dy.clone();
      update.block_of(base).zero_();
    }
    return weight->multiply_transposed(base);
  }

  void add_copy_gradient(size_t i, const at::Tensor& dy, const at::Tensor& dx) const {
    const Update& update = updates[i];
    const bool first = update.column == 0 && covers_everything(updates, dy.size(0), dy.size(1));
    const at::Tensor dy_block = update.block_of(dy);
    const at::Tensor copy = weight_copies[i].detach();
    const at::Tensor rows = update.rows_of(dx);
    put_product(rows, dy_block, copy, /*add=*/!first);
  }

  void lora_gradients(size_t i, const at::Tensor& dy_block, at::Tensor* dx, size_t output,
                      torch::autograd::variable_list& result, at::Tensor& wide) {
    const Update& update = updates[i];
    const LoraWeights& lora = loras[i];
    const at::Tensor dy = dy_block.to(lora.b.scalar_type());
    if (task_should_compute_output(output + 1)) {
      result[output + 1] = matrix_product(dy.t(), projections[i]).mul_(lora.scaling);
    }
    const bool need_da = task_should_compute_output(output);
    if (!need_da && dx == nullptr) return;
    const at::Tensor dh = matrix_product(dy, lora.b).mul_(lora.scaling);  // [rows, r]
    const DropoutKey* key = dropout ? &*dropout : nullptr;
    if (need_da) {
      result[output] = matrix_product(
          dh.t(), update_input(update, x, key, &lengths, lora.a.scalar_type(), wide));
      if (i + 1 == updates.size()) wide = at::Tensor();  // what comes next is as large
    }
    if (dx == nullptr) return;
    if (update.dropout == 0.0) {
      put_product(update.rows_of(*dx), dh, lora.a, /*add=*/true);
    } else {
      const at::Tensor mask = dropout_mask(update, *key, lengths, x.size(1), dh.options());
      update.rows_of(*dx).add_(matrix_product(dh, lora.a).mul_(mask).to(dx->scalar_type()));
    }
  }
};

// Computes y and fills what the backward pass needs (`node` may be nullptr).
at::Tensor compute(const at::Tensor& x, const LinearGroup& group,
                   const std::vector<Update>& updates, const DropoutKey* dropout,
                   const std::vector<int64_t>* lengths, AdaptedLinearBackward* node) {
  const bool replaced = covers_everything(updates, x.size(0), group.weight->out_features());
  at::Tensor y =
      replaced ? x.new_empty({x.size(0), group.weight->out_features()}) : group.weight->multiply(x);
  if (group.bias && !replaced) y.add_(*group.bias);
  at::Tensor wide;
  for (const Update& update : updates) {
    at::Tensor block = update.block_of(y);
    if (update.weight_copy != nullptr) {
      put_product(block, update.rows_of(x), update.weight_copy->t(), /*add=*/false);
      if (group.bias) block.add_(group.bias->narrow(0, update.column, update.num_columns));
    }
    if (update.bias_copy != nullptr) {
      if (group.bias) block.sub_(group.bias->narrow(0, update.column, update.num_columns));
      block.add_(*update.bias_copy);
    }
    at::Tensor projection;
    if (update.lora != nullptr) {
      const at::Tensor input =
          update_input(update, x, dropout, lengths, update.lora->a.scalar_type(), wide);
      projection = linear_product(input, update.lora->a);  // [rows, r]
      put_product(block, projection, update.lora->b.t(), /*add=*/true, update.lora->scaling);
    }
    if (node != nullptr) {
      node->projections.push_back(projection);
      node->loras.push_back(
          update.lora != nullptr
              ? LoraWeights{update.lora->a.detach(), update.lora->b.detach(), update.lora->scaling}
              : LoraWeights{});
      node->weight_copies.push_back(update.weight_copy != nullptr ? *update.weight_copy
                                                                  : at::Tensor());
    }
  }
  return y;
}

}  // namespace

at::Tensor adapted_linear(const at::Tensor& x, const LinearGroup& group,
                          const AdapterRows& adapters, const DropoutKey* dropout,
                          const std::vector<int64_t>* lengths) {
  const std::vector<Update> updates =
      collect_updates(group, adapters, x.size(0), dropout != nullptr);
  torch::autograd::variable_list inputs{x};
  for (const Update& update : updates) {
    if (update.weight_copy != nullptr) inputs.push_back(*update.weight_copy);
    if (update.bias_copy != nullptr) inputs.push_back(*update.bias_copy);
    if (update.lora != nullptr) {
      inputs.push_back(update.lora->a);
      inputs.push_back(update.lora->b);
    }
  }
  const bool differentiable =
      c10::GradMode::is_enabled() && torch::autograd::any_variable_requires_grad(inputs);
  if (!differentiable) {
    const c10::AutoGradMode no_grad(false);
    return compute(x, group, updates, dropout, lengths, nullptr);
  }
  std::shared_ptr<AdaptedLinearBackward> node(new AdaptedLinearBackward(),
                                              torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  at::Tensor y;
  {
    const c10::AutoGradMode no_grad(false);
    y = compute(x.detach(), group, updates, dropout, lengths, node.get());
  }
  node->weight = group.weight;
  if (!updates.empty()) node->x = x.detach();
  if (dropout != nullptr) {
    node->dropout = *dropout;
    node->lengths = *lengths;
  }
  node->updates = updates;
  torch::autograd::set_history(y, node);
  return y;
}

}  // namespace leash
