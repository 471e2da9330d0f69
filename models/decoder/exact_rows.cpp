#include "models/decoder/exact_rows.h"

#include "models/attention/fused_attention.h"
#include "models/kernels/panels.h"

namespace leash {

bool machine_has_exact_rows() { return panels::has(panels::Kind::single); }

bool rows_are_exact(const DecoderConfig& model, at::ScalarType weights, at::Device device) {
  if (weights != at::kFloat && weights != at::kBFloat16) return false;
  if (!device.is_cpu() || !machine_has_exact_rows() || model.alibi_in_bfloat16) return false;
  return fused_attention_fits(at::TensorOptions(at::kFloat),
                              {model.num_heads, model.num_kv_heads, model.head_dim});
}

}  // namespace leash
