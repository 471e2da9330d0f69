#include "rl/plan/activations.h"

#include <algorithm>
#include <initializer_list>

#include "models/families/decoder_modules.h"

namespace leash {
namespace {

// Widths of a block's tensors, in numbers a row.
struct Widths {
  explicit Widths(const DecoderConfig& config)
      : hidden(config.hidden_size),
        middle(config.intermediate_size),
        queries(config.num_heads * config.head_dim),
        keys(config.num_kv_heads * config.head_dim),
        heads(config.num_heads) {}
  int64_t hidden, middle, queries, keys, heads;
};

// The fused layers (norm, gated activation) are float32's; others keep more.
bool has_fused_layers(at::ScalarType dtype) { return dtype == at::kFloat; }

// Walks the blocks in the order of computation and adds up what each operation keeps.
class Keeper {
 public:
  Keeper(const ModelFacts& model, at::ScalarType dtype, const AdapterFacts& adapter,
         const PassShape& pass)
      : model_(model),
        adapter_(adapter),
        pass_(pass),
        index_(model.modules),
        width_(model.config),
        element_(element_bytes(dtype)),
        wide_(wide_bytes(dtype)),
        fused_(has_fused_layers(dtype)) {
    grows_ = adapter_.touches(index_.find(ModuleRole::embedding));
  }

  bool grows() const { return grows_; }

  // Bytes that one block keeps.
  int64_t block(int64_t layer) {
    using Role = ModuleRole;
    per_row_ = 0;
    norm(index_.find(Role::input_norm, layer));
    linear(layer, {Role::query, Role::key, Role::value}, width_.hidden);
    attention();
    const int64_t shared = grows_ ? width_.queries : 0;
    // Reads what attention keeps anyway.
    linear(layer, {Role::attention_output}, width_.queries - shared);
    norm(index_.find(Role::mlp_norm, layer));
    linear(layer, {Role::gate, Role::up}, width_.hidden);
    gated_activation();
    linear(layer, {Role::down}, width_.middle);
    return per_row_ * pass_.rows;
  }

  // The norm behind the last block.
  int64_t final_norm() {
    per_row_ = 0;
    norm(index_.find(ModuleRole::final_norm));
    return per_row_ * pass_.rows;
  }

 private:
  // Its input and 1 / rms; where the scale trains, what is scaled as well.
  void norm(int64_t module) {
    const bool trains = adapter_.touches(module);
    if (!grows_ && !trains) return;
    const bool wide_copy = !fused_ || trains;
    per_row_ += width_.hidden * (wide_copy ? wide_ : element_) + wide_;
    if (trains) per_row_ += width_.hidden * element_;
    grows_ = true;
  }

  // The input, where something of the product trains, and x Aᵀ of each update. `kept_width`: of the
  // input as far as nothing else keeps it.
  void linear(int64_t layer, std::initializer_list<ModuleRole> group, int64_t kept_width) {
    bool trains = false;
    for (const ModuleRole role : group) {
      const int64_t module = index_.find(role, layer);
      if (module < 0 || !adapter_.touches(module)) continue;
      trains = true;
      per_row_ += adapter_.ranks[static_cast<size_t>(module)] * wide_;
    }
    if (!trains) return;
    per_row_ += kept_width * element_;
    grows_ = true;
  }

  // Queries, keys, values, the result and a log of each softmax's sum.
  void attention() {
    if (!grows_) return;
    per_row_ += (2 * width_.queries + 2 * width_.keys) * element_ + width_.heads * wide_;
  }

  void gated_activation() {
    if (!grows_) return;
    const bool fused = fused_ && model_.config.activation == Activation::silu;
    per_row_ += (fused ? 2 : 3) * width_.middle * element_;
  }

  const ModelFacts& model_;
  const AdapterFacts& adapter_;
  const PassShape& pass_;
  ModuleIndex index_;
  Widths width_;
  int64_t element_, wide_;
  bool fused_;
  bool grows_ = false;  // whether a gradient flows through what comes next
  int64_t per_row_ = 0;
};

// Blocks through which a gradient flows.
struct KeptBlocks {
  int64_t count = 0;
  int64_t bytes = 0;
  int64_t last = 0;  // bytes of the last one
  bool any() const { return count > 0; }
};

KeptBlocks kept_blocks(Keeper& keeper, int64_t num_layers) {
  KeptBlocks blocks;
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    blocks.last = keeper.block(layer);
    blocks.bytes += blocks.last;
    if (keeper.grows()) ++blocks.count;
  }
  return blocks;
}

}  // namespace

int64_t logits_chunk_rows(int64_t vocabulary) {
  return std::clamp<int64_t>((int64_t{8} << 20) / vocabulary, 16, 1024);
}

int64_t kept_bytes(const ModelFacts& model, at::ScalarType dtype, const AdapterFacts* adapter,
                   const PassShape& pass) {
  if (adapter == nullptr) return 0;
  Keeper keeper(model, dtype, *adapter, pass);
  const KeptBlocks blocks = kept_blocks(keeper, model.config.num_layers);
  const int64_t inputs = blocks.count * pass.rows * model.config.hidden_size * element_bytes(dtype);
  return (pass.recompute ? inputs : blocks.bytes) + keeper.final_norm();
}

int64_t backward_scratch_bytes(const ModelFacts& model, at::ScalarType dtype,
                               const AdapterFacts* adapter, const PassShape& pass) {
  if (adapter == nullptr) return 0;
  Keeper keeper(model, dtype, *adapter, pass);
  const KeptBlocks blocks = kept_blocks(keeper, model.config.num_layers);
  if (!blocks.any()) return 0;
  const Widths width(model.config);
  // At the gated activation: dL/dhidden, dL/dy and dL/d[gate, up]; the input of down_proj has gone.
  const int64_t down =
      ModuleIndex(model.modules).find(ModuleRole::down, model.config.num_layers - 1);
  int64_t numbers = width.hidden + 3 * width.middle - (adapter->touches(down) ? width.middle : 0);
  int64_t scratch = pass.rows * numbers * element_bytes(dtype);
  if (!has_fused_layers(dtype)) scratch += pass.rows * width.middle * wide_bytes(dtype);
  if (pass.dropout) {  // a mask is drawn again, made 0 or 1 / (1 - p), and multiplied
    scratch +=
        3 * pass.rows * std::max(width.hidden, adapter->touches(down) ? width.middle : 0) * 4;
  }
  return scratch + (pass.recompute ? blocks.last : 0);
}

int64_t forward_scratch_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t rows) {
  const Widths width(model.config);
  // The block's input, attention's result, the sum behind it, [gate, up], their product, the
  // block's update and its output.
  int64_t numbers = 4 * width.hidden + width.queries + 3 * width.middle;
  if (!has_fused_layers(dtype)) numbers += width.middle;
  return rows * numbers * element_bytes(dtype);
}

int64_t head_scratch_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t rows,
                           int64_t predicting, bool gradients) {
  const int64_t vocabulary = model.config.vocab_size;
  const int64_t chunk = std::min(logits_chunk_rows(vocabulary), predicting);
  // float32: in place; bfloat16 and float16: logits, their float32 and the gradient; float64:
  // LibTorch's operations, four copies at a time.
  int64_t per_logit = 4;
  if (element_bytes(dtype) == 2) per_logit = gradients ? 8 : 6;
  if (dtype == at::kDouble) per_logit = 4 * 8;
  const int64_t states = rows + predicting * (gradients ? 2 : 1);
  return chunk * vocabulary * per_logit + states * model.config.hidden_size * element_bytes(dtype);
}

int64_t cache_bytes(const ModelFacts& model, at::ScalarType dtype, int64_t slots,
                    int64_t capacity) {
  const DecoderConfig& config = model.config;
  return 2 * config.num_layers * slots * config.num_kv_heads * capacity * config.head_dim *
         element_bytes(dtype);
}

}  // namespace leash
