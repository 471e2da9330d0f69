// A frozen weight as our products read it, whatever the number of rows: panels of 16 outputs, whose
// numbers for one input lie side by side, and a row of the left factor passes by. Plain memory;
// packed_product.h has tensors.
//
// Everything is counted in words of 32 bits: one fp32 number, or a pair of neighbouring bf16
// numbers, for which one instruction (vdpbf16ps) adds both products to each of 16 fp32 sums. Every
// result adds up in the order of words, one sum from beginning to end, whatever the number of rows,
// the tile and the thread: a row's result does not depend on the other rows.
#pragma once

#include <cstdint>

namespace leash::panels {

constexpr int64_t kOutputs = 16;  // of a panel
constexpr int64_t kGroup = 3;     // panels that a tile takes at a time

enum class Kind { single, pairs };  // fp32, bf16

// Whether this machine multiplies them: AVX-512, for pairs AVX512-BF16.
bool has(Kind kind);

// Words of `numbers` neighbours. Behind an odd number of bf16 there is a zero.
inline int64_t words_of(Kind kind, int64_t numbers) {
  return kind == Kind::single ? numbers : (numbers + 1) / 2;
}
inline int64_t panels_of(int64_t outputs) { return (outputs + kOutputs - 1) / kOutputs; }

// fp32 to bf16, to the nearest, ties to even; a zero behind an odd `n`. With AVX512-BF16 numbers
// below fp32's normal ones become zeros.
void round_row(const float* x, int64_t n, uint16_t* rounded);

// `count` rows of `words` words, `stride` words apart, as the panel [words][kOutputs]; zeros for
// rows behind the last.
void pack_panel(const uint32_t* rows, int64_t stride, int64_t count, int64_t words,
                uint32_t* panel);

// out [rows, columns] = left right, or added to what is there.
struct Product {
  Kind kind = Kind::single;
  const uint32_t* left = nullptr;    // [rows, words], `left_stride` words apart
  const uint32_t* panels = nullptr;  // panels of `columns` outputs, `panel_stride` words apart
  int64_t left_stride = 0, panel_stride = 0;
  int64_t rows = 0, words = 0, columns = 0;
  float* out = nullptr;  // rows `out_stride` numbers apart
  int64_t out_stride = 0;
  bool add = false;
};
// On the calling thread. Only where has(kind).
void multiply(const Product& product);
// The same in plain loops, where there are other machines and tests: pairs add the second product
// first, as the instruction does.
void multiply_plain(const Product& product);

// Panels for the gradient dy W: inputs [input, input + columns) become outputs, and `depth` outputs
// from `output` on (`input` and `output` are multiples of kTurned) their inputs. There is room for
// `columns` rounded up to whole kTurned.
constexpr int64_t kTurned = 32;
inline int64_t turned_stride(Kind kind, int64_t depth) {  // words between turned panels
  return panels_of(depth) * words_of(kind, kOutputs) * kOutputs;
}
void turn_panels(Kind kind, const uint32_t* panels, int64_t panel_stride, int64_t words,
                 int64_t output, int64_t depth, int64_t input, int64_t columns, uint32_t* turned);

}  // namespace leash::panels
