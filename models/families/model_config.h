// The `model:` section: which checkpoint, in which type.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "models/fields.h"

namespace leash {

enum class DtypeChoice { automatic, float32, bfloat16, float16, float64 };
template <>
struct EnumNames<DtypeChoice> {
  static constexpr std::pair<DtypeChoice, std::string_view> values[] = {
      {DtypeChoice::automatic, "auto"},
      {DtypeChoice::float32, "float32"},
      {DtypeChoice::bfloat16, "bfloat16"},
      {DtypeChoice::float16, "float16"},
      {DtypeChoice::float64, "float64"}};
  static constexpr std::pair<std::string_view, std::string_view> refused[] = {
      {"bf16", "it is `bfloat16` here"},
      {"fp16", "it is `float16` here"},
      {"half", "it is `float16` here"},
      {"fp32", "it is `float32` here"}};
};

enum class Quantize { none, keep, nf4, int8 };
template <>
struct EnumNames<Quantize> {
  static constexpr std::pair<Quantize, std::string_view> values[] = {{Quantize::none, "none"},
                                                                     {Quantize::keep, "keep"},
                                                                     {Quantize::nf4, "nf4"},
                                                                     {Quantize::int8, "int8"}};
};

struct ModelConfig {
  ModelPath path = "smollm2";
  DtypeChoice dtype = DtypeChoice::automatic;
  Quantize quantize = Quantize::none;
  bool gradient_checkpointing = false;
};
template <class Config, class Visitor>
requires Describes<Config, ModelConfig>
void visit_fields(Config& c, Visitor&& visit) {
  visit("path", c.path,
        "a GGUF file (of a split one any part), a Hugging Face folder, org/name of what is in "
        "Hugging "
        "Face's cache, or smollm2 (the model that set-up installed)");
  visit(
      "dtype", c.dtype,
      "type of frozen matrices, and of activations but for bfloat16 on a CPU, where they stay "
      "float32; auto is float32 on a CPU and bfloat16 on a GPU; float16 trains with a loss scale, "
      "in the supervised tasks alone");
  visit(
      "quantize", c.quantize,
      "how frozen weights are kept in memory: none (dense), keep (a GGUF's own blocks), nf4, int8");
  visit("gradient_checkpointing", c.gradient_checkpointing,
        "compute blocks again in the backward pass: less memory, a third more time");
}

}  // namespace leash
