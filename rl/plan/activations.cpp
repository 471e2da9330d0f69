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
        heads(config.num_heads),
        inner((config.gated_mlp ? 2 : 1) * middle) {}
  int64_t hidden, middle, queries, keys, heads;
  int64_t inner;  // of the projection into the MLP
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
    for (const ModuleRole role : {ModuleRole::embedding, ModuleRole::positions}) {
      grows_ = grows_ || adapter_.touches(index_.find(role));
    }
    before_blocks_ = norm(index_.find(ModuleRole::embedding_norm), width_.hidden);
  }

  bool grows() const { return grows_; }

  // Bytes that one block keeps.
  int64_t block(int64_t layer) {
    using Role = ModuleRole;
    per_row_ = 0;
    norm_of(Role::input_norm, layer);
    linear(layer, {Role::query, Role::key, Role::value, Role::qkv}, width_.hidden);
    norm_of(Role::query_norm, layer, width_.queries);
    norm_of(Role::key_norm, layer, width_.keys);
    attention();
    const int64_t shared = grows_ ? width_.queries : 0;
    // Reads what attention keeps anyway.
    linear(layer, {Role::attention_output}, width_.queries - shared);
    norm_of(Role::attention_post_norm, layer);
    norm_of(Role::mlp_norm, layer);
    linear(layer, {Role::gate, Role::up, Role::gate_up}, width_.hidden);
    activation();
    linear(layer, {Role::down}, width_.middle);
    norm_of(Role::mlp_post_norm, layer);
    return per_row_ * pass_.rows;
  }

  // The norm behind the last block, and one before the first.
  int64_t final_norm() {
    per_row_ = before_blocks_;
    norm_of(ModuleRole::final_norm, -1);
    return per_row_ * pass_.rows;
  }

 private:
  void norm_of(ModuleRole role, int64_t layer) { norm_of(role, layer, width_.hidden); }
  void norm_of(ModuleRole role, int64_t layer, int64_t width) {
    per_row_ += norm(index_.find(role, layer), width);
  }

  // Bytes a row of a norm over rows of `width` numbers (0 where there is none): its input and 1 /
  // rms (of each head; with the mean for a layer norm); where the scale trains, what is scaled as
  // well.
  int64_t norm(int64_t module, int64_t width) {
    if (module < 0) return 0;
    const bool trains = adapter_.touches(module);
    if (!grows_ && !trains) return 0;
    grows_ = true;
    const bool layer = model_.config.norm == NormKind::layer;
    const bool wide_copy = (!fused_ && !layer) || trains;
    const int64_t parts = width / model_.modules[static_cast<size_t>(module)].out_features;
    const int64_t scaled = trains ? width * element_ : 0;
    return width * (wide_copy ? wide_ : element_) + parts * (layer ? 2 : 1) * wide_ + scaled;
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

  // Of a plain MLP: its input.
  void activation() {
    if (!grows_) return;
    if (!model_.config.gated_mlp) {
      per_row_ += width_.middle * element_;
      return;
    }
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
  int64_t before_blocks_ = 0;  // likewise a row
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
  // At the activation: dL/dhidden, dL/dy and dL/d[gate, up]; the input of down_proj has gone.
  const int64_t down =
      ModuleIndex(model.modules).find(ModuleRole::down, model.config.num_layers - 1);
  int64_t numbers =
      width.hidden + width.inner + width.middle - (adapter->touches(down) ? width.middle : 0);
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
  // The block's input, the sum behind attention, [gate, up], their product and the MLP's update;
  // side by side: the input, its norms, attention's update and the MLP's.
  int64_t numbers =
      (model.config.parallel_residual ? 5 : 3) * width.hidden + width.inner + width.middle;
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
  // Capped ones beside what they were made of.
  if (model.config.logit_softcap != 0.0 || model.config.logit_scale != 1.0)
    per_logit += 2 * wide_bytes(dtype);
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
