// NF4 and int8 against bitsandbytes (tests/golden/make_quant.py).
#include <gtest/gtest.h>

#include <cmath>

#include "models/io/safetensors.h"
#include "models/quant/int8.h"
#include "models/quant/nf4.h"
#include "models/quant/quantized_weight.h"
#include "tests/support/files.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::same_bits;

class GoldenQuant : public ::testing::Test {
 protected:
  at::Tensor golden(const std::string& name, at::ScalarType dtype = at::kFloat) const {
    return source_->read(name, dtype);
  }
  std::shared_ptr<const TensorSource> source_ =
      open_safetensors(testing::repository("tests/golden/quant.safetensors"));
};

TEST_F(GoldenQuant, TablesEqualBitsandbytes) {
  const at::Tensor values = golden("values");
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(nf4_values()[i], values.const_data_ptr<float>()[i]) << i;
  }
  const at::Tensor map = golden("map");
  // torch's linspace, which the map comes from, rounds as the machine's vectors are long: 2 ulp.
  for (size_t i = 0; i < 256; ++i) {
    const float expected = map.const_data_ptr<float>()[i];
    EXPECT_NEAR(dynamic_map()[i], expected, 2.4e-7 * std::abs(expected)) << i;
  }
}

TEST_F(GoldenQuant, Nf4EqualsBitsandbytes) {
  for (const std::string name : {"wide", "ragged"}) {
    SCOPED_TRACE(name);
    const Nf4Matrix matrix = quantize_nf4(golden(name + ".weight"));
    EXPECT_TRUE(same_bits(matrix.codes, golden(name + ".codes", at::kByte)));
    EXPECT_TRUE(same_bits(matrix.scale_codes, golden(name + ".scale_codes", at::kByte)));
    EXPECT_TRUE(same_bits(matrix.scale_scales, golden(name + ".scale_scales")));
    EXPECT_EQ(matrix.scale_offset, golden(name + ".offset").item<float>());
    const at::Tensor dense = quantized_weight({nf4_rows(matrix)})->dense();
    const at::Tensor expected = golden(name + ".dense");
    // A small scale is what is left of two numbers as large as the offset: rounding is of its size.
    EXPECT_TRUE(all_close(dense.narrow(0, 0, expected.size(0)), expected, 1e-6,
                          5e-7 * matrix.scale_offset));
  }
}

TEST_F(GoldenQuant, Int8EqualsBitsandbytes) {
  const Int8Matrix matrix = quantize_int8(golden("int8.weight"));
  EXPECT_TRUE(same_bits(matrix.codes, golden("int8.codes", at::kChar)));
  EXPECT_TRUE(same_bits(matrix.stats, golden("int8.stats")));
}

}  // namespace
}  // namespace leash
