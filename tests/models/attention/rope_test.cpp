// Tables of rotary embeddings against those of transformers (tests/golden/make_rope.py), partial
// rotation and none.
#include "models/attention/rope.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "models/random/random.h"
#include "tests/models/io/damage.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using nlohmann::json;
using testing::all_close;
using testing::same_bits;

RopeConfig rope_of(const json& row) {
  static const std::map<std::string, RopeScaling> kKinds = {
      {"default", RopeScaling::none},      {"linear", RopeScaling::linear},
      {"llama3", RopeScaling::llama3},     {"yarn", RopeScaling::yarn},
      {"longrope", RopeScaling::longrope}, {"dynamic", RopeScaling::dynamic}};
  const json& rope = row["rope"];
  RopeConfig config;
  config.theta = rope["rope_theta"];
  config.rotary_dim = row["rotary_dim"];
  config.scaling = kKinds.at(rope["rope_type"]);
  config.factor = rope.value("factor", 1.0);
  config.low_freq_factor = rope.value("low_freq_factor", 1.0);
  config.high_freq_factor = rope.value("high_freq_factor", 4.0);
  config.original_max_positions = rope.value("original_max_position_embeddings", 2048);
  config.beta_fast = rope.value("beta_fast", 32.0);
  config.beta_slow = rope.value("beta_slow", 1.0);
  config.truncate = rope.value("truncate", true);
  config.attention_factor = row["attention_factor"];
  config.factors = rope.value("short_factor", std::vector<double>{});
  return config;
}

TEST(GoldenRope, TablesOfEveryScaling) {
  const json rows = json::parse(testing::read_text(testing::repository("tests/golden/rope.json")));
  ASSERT_GE(rows.size(), 16U);
  for (const json& row : rows) {
    SCOPED_TRACE(row["name"].get<std::string>());
    const RopeTable table = rope_table(rope_of(row), 512);
    const at::Tensor positions =
        at::tensor(row["positions"].get<std::vector<int64_t>>(), at::kLong);
    const auto golden = [&](const char* name) {
      return at::tensor(row[name].get<std::vector<float>>(), at::kFloat)
          .view({positions.size(0), row["rotary_dim"].get<int64_t>() / 2});
    };
    // An angle of 511 radians is known to 3e-5 in fp32.
    EXPECT_TRUE(all_close(table.cosines.index_select(0, positions), golden("cosines"), 0, 4e-5));
    EXPECT_TRUE(all_close(table.sines.index_select(0, positions), golden("sines"), 0, 4e-5));
    EXPECT_TRUE(all_close(table.cosines[1], golden("cosines")[1], 0, 2e-7));
    EXPECT_TRUE(all_close(table.sines[1], golden("sines")[1], 0, 2e-7));
  }
}

at::Tensor rope_noise(at::IntArrayRef shape, uint64_t index) {
  return normal_tensor(DrawKey{14, Purpose::noise, index}, shape, 0, 1);
}

TEST(Rope, OnlyTheBeginningOfAHeadIsRotated) {
  const RopeTable table = rope_table({.theta = 100, .rotary_dim = 6}, 9);
  const at::Tensor positions = at::arange(9, at::kLong), x = rope_noise({9, 2, 15}, 1);
  const at::Tensor whole = rotate_plain(x.narrow(2, 0, 6), positions, table);
  for (const at::Tensor& y : {rotate(x, positions, table), rotate_plain(x, positions, table)}) {
    EXPECT_TRUE(all_close(y.narrow(2, 0, 6), whole, 1e-6, 1e-6));
    EXPECT_TRUE(same_bits(y.narrow(2, 6, 9).contiguous(), x.narrow(2, 6, 9).contiguous()));
  }
}

TEST(Rope, AnUndefinedTableRotatesNothing) {
  const at::Tensor positions = at::arange(9, at::kLong), x = rope_noise({9, 4 * 5}, 2);
  const QueryKeyValue parts = split_and_rotate(x, positions, {}, 2, 1, 5);
  const at::Tensor whole =
      at::cat({parts.query.flatten(1), parts.key.flatten(1), parts.value.flatten(1)}, 1);
  EXPECT_TRUE(same_bits(whole, x));
  EXPECT_FALSE(RopeTable().transposed().rotates());
}

}  // namespace
}  // namespace leash
