// The optimizers behind `optim:` against torch, transformers and bitsandbytes
// (tests/golden/make_optimizers.py), and their saved states.
#include "rl/optim/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "models/errors.h"
#include "models/io/safetensors.h"
#include "rl/optim/paged_memory.h"
#include "tests/rl/json_tensors.h"
#include "tests/rl/optim/states.h"
#include "tests/support/tensors.h"

namespace leash {
namespace {

using testing::all_close;
using testing::copy_of;
using testing::leaf;
using testing::repository;
using testing::same_bits;
using Shapes = std::vector<std::vector<int64_t>>;

const Shapes kSmall = {{3, 4}, {5}, {2, 3, 4}};
const Shapes kLarge = {{65, 67}, {12, 13}, {5}};
constexpr double kRates[] = {1e-2, 2e-2, 1e-2, 5e-3, 4e-3, 3e-3};
constexpr size_t kNumSteps = std::size(kRates);

const std::map<std::string, at::Tensor>& golden() {
  static const auto tensors = [] {
    const NamedTensors read = read_safetensors(repository("tests/golden/optimizers.safetensors"));
    return std::map<std::string, at::Tensor>(read.begin(), read.end());
  }();
  return tensors;
}

// `numbers` of the script.
at::Tensor numbers(at::IntArrayRef shape, uint32_t seed) {
  at::Tensor result = at::zeros(shape, at::kDouble);
  auto* values = result.mutable_data_ptr<double>();
  for (int64_t i = 0; i < result.numel(); ++i) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435761u + seed * 40503u + 12345u;
    x = (x ^ (x >> 15)) * 2246822519u;
    x = (x ^ (x >> 13)) * 3266489917u;
    x ^= x >> 16;
    values[i] =
        std::ldexp(static_cast<double>(x >> 8) / 16777216.0 - 0.5, -static_cast<int>(x % 16));
  }
  return result;
}

at::Tensor gradient(at::IntArrayRef shape, size_t step, size_t index) {
  at::Tensor values = numbers(shape, static_cast<uint32_t>(100 * (step + 1) + index));
  if (index == 0 && values.numel() > 1024) {
    values.view(-1).narrow(0, 512, 256).zero_();
    if (step < 2) values.view(-1).narrow(0, 768, 256).zero_();
  }
  return values;
}

std::vector<at::Tensor> starts(const Shapes& shapes, at::ScalarType dtype) {
  std::vector<at::Tensor> result;
  for (size_t i = 0; i < shapes.size(); ++i) {
    result.push_back(leaf(numbers(shapes[i], static_cast<uint32_t>(i)).to(dtype)));
  }
  return result;
}

// The script's updates [from, to).
void update(Optimizer& optimizer, size_t from, size_t to) {
  auto parameters = optimizer.parameters();
  for (size_t step = from; step < to; ++step) {
    optimizer.zero_grad();
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (step == 1 && i == 2) continue;
      parameters[i].mutable_grad() =
          gradient(parameters[i].sizes(), step, i).to(parameters[i].scalar_type());
    }
    optimizer.step(kRates[step]);
  }
}

const char* type_name(at::ScalarType dtype) {
  return dtype == at::kDouble ? "float64" : dtype == at::kFloat ? "float32" : "bfloat16";
}

void expect_trace(OptimizerKind kind, at::ScalarType dtype, double tolerance) {
  for (const auto& [decay, name] : {std::pair{0.0, "wd0.0"}, {0.1, "wd0.1"}}) {
    const std::string key =
        std::string(enum_name(kind)) + "." + name + "." + type_name(dtype) + ".";
    Optimizer optimizer(starts(kSmall, dtype), {.kind = kind, .weight_decay = decay});
    for (size_t step = 0; step < kNumSteps; ++step) {
      update(optimizer, step, step + 1);
      for (size_t i = 0; i < kSmall.size(); ++i) {
        const std::string place = key + "step" + std::to_string(step) + "." + std::to_string(i);
        EXPECT_TRUE(all_close(optimizer.parameters()[i], golden().at(place), tolerance)) << place;
      }
    }
    for (const auto& [part, tensor] : optimizer.state()) {
      if (part.ends_with(".step")) {
        EXPECT_EQ(tensor.item<int64_t>(), part == "2.step" ? 5 : 6);
      } else {
        EXPECT_TRUE(all_close(tensor, golden().at(key + "state." + part), tolerance)) << part;
      }
    }
  }
}

TEST(GoldenSgd, SixStepsOfTorch) {
  expect_trace(OptimizerKind::sgd, at::kDouble, 1e-14);
  expect_trace(OptimizerKind::sgd, at::kFloat, 1e-6);
  expect_trace(OptimizerKind::sgd, at::kBFloat16, 0);
}

TEST(GoldenAdafactor, SixStepsOfTransformers) {
  expect_trace(OptimizerKind::adafactor, at::kDouble, 1e-12);
  expect_trace(OptimizerKind::adafactor, at::kFloat, 2e-5);
  expect_trace(OptimizerKind::adafactor, at::kBFloat16, 1.0 / 128);  // one step of bf16
}

TEST(GoldenBlockwise8bit, BitsandbytesMap) {
  EXPECT_TRUE(same_bits(dynamic_map_values(DynamicMap::with_sign), golden().at("map.with_sign")));
  EXPECT_TRUE(
      same_bits(dynamic_map_values(DynamicMap::without_sign), golden().at("map.without_sign")));
}

at::Tensor quantiser_values(DynamicMap map) {
  at::Tensor values = numbers({1000}, 7).to(at::kFloat);
  values.narrow(0, 256, 256).zero_();
  return map == DynamicMap::with_sign ? values : values.square();
}

TEST(GoldenBlockwise8bit, BitsandbytesNearestCodes) {
  for (const auto& [map, name] : {std::pair{DynamicMap::with_sign, "with_sign"},
                                  {DynamicMap::without_sign, "without_sign"}}) {
    const BlockwiseCodes quantized = quantize_blockwise(quantiser_values(map), map);
    const std::string suffix = std::string(".") + name;
    EXPECT_TRUE(same_bits(quantized.codes, golden().at("codes" + suffix + ".nearest"))) << name;
    EXPECT_TRUE(same_bits(quantized.absmax, golden().at("absmax" + suffix + ".nearest"))) << name;
    EXPECT_TRUE(same_bits(dequantize_blockwise(quantized, map), golden().at("values" + suffix)));
  }
}

// Its CPU kernel looks codes up in a table of 2^16 places over [-1, 1]: a place is 2/65535 wide,
// and the two maps' values lie closer together than that near 0.
TEST(GoldenBlockwise8bit, WithinOnePlaceOfBitsandbytesTable) {
  for (const auto& [map, name] : {std::pair{DynamicMap::with_sign, "with_sign"},
                                  {DynamicMap::without_sign, "without_sign"}}) {
    const at::Tensor values = quantiser_values(map);
    const BlockwiseCodes ours = quantize_blockwise(values, map);
    const BlockwiseCodes theirs{golden().at(std::string("codes.") + name + ".table"), ours.absmax};
    const at::Tensor scale = ours.absmax.repeat_interleave(256).narrow(0, 0, 1000);
    const at::Tensor a = dequantize_blockwise(ours, map), b = dequantize_blockwise(theirs, map);
    const at::Tensor extra = (b - values).abs() - (a - values).abs();
    EXPECT_GE(extra.min().item<float>(), -1e-7f);  // ours is nearest
    EXPECT_TRUE((extra <= scale * (2.0 / 65535)).all().item<bool>());
    EXPECT_GT((ours.codes != theirs.codes).sum().item<int64_t>(), 0);
  }
}

Optimizer large_adamw8bit(at::ScalarType dtype, double weight_decay) {
  return Optimizer(
      starts(kLarge, dtype),
      {.kind = OptimizerKind::paged_adamw_8bit, .beta2 = 0.95, .weight_decay = weight_decay});
}

// Where parameters are bf16, a last bit of float32 may turn a rounding: `num_turned` entries may
// be elsewhere.
void expect_bitsandbytes(at::ScalarType dtype, double weight_decay, const std::string& key,
                         int64_t num_turned) {
  Optimizer optimizer = large_adamw8bit(dtype, weight_decay);
  update(optimizer, 0, kNumSteps);
  for (size_t i = 0; i < kLarge.size(); ++i) {
    const at::Tensor ours = optimizer.parameters()[i].detach().to(at::kDouble);
    const at::Tensor theirs = golden().at(key + std::to_string(i)).to(at::kDouble);
    const at::Tensor far = (ours - theirs).abs() > theirs.abs() * 1e-6 + 1e-7;
    EXPECT_LE(far.sum().item<int64_t>(), num_turned) << key << i;
  }
  for (const auto& [name, tensor] : optimizer.state()) {
    if (!name.starts_with("0.") || name == "0.step") continue;
    const at::Tensor& expected = golden().at(key + "state." + name);
    if (tensor.scalar_type() == at::kByte) {
      EXPECT_TRUE(same_bits(tensor, expected)) << key << name;
    } else {
      EXPECT_TRUE(all_close(tensor, expected, 1e-6)) << key << name;
    }
  }
}

TEST(GoldenAdamW8bit, SixStepsOfBitsandbytes) {
  expect_bitsandbytes(at::kFloat, 0.0, "adamw_8bit.wd0.0.float32.", 0);
  expect_bitsandbytes(at::kFloat, 0.1, "adamw_8bit.wd0.1.float32.", 0);
  expect_bitsandbytes(at::kBFloat16, 0.1, "adamw_8bit.wd0.1.bfloat16.", 4);
}

TEST(Optimizer, EachKindResumesBitwiseThroughAFile) {
  const testing::ScratchFolder folder;
  for (const auto& [kind, name] : EnumNames<OptimizerKind>::values) {
    const OptimizerConfig config{.kind = kind, .weight_decay = 0.05};
    Optimizer uninterrupted(starts(kLarge, at::kFloat), config);
    update(uninterrupted, 0, kNumSteps);

    Optimizer before(starts(kLarge, at::kFloat), config);
    update(before, 0, 3);
    write_safetensors(folder / "state.safetensors", before.state());
    std::vector<at::Tensor> parameters;
    for (const at::Tensor& parameter : before.parameters()) {
      parameters.push_back(leaf(parameter.detach()));
    }
    Optimizer after(parameters, config);
    after.load_state(read_safetensors(folder / "state.safetensors"));
    update(after, 3, kNumSteps);
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_TRUE(same_bits(parameters[i], uninterrupted.parameters()[i])) << name << i;
    }
    const OptimizerState expected = uninterrupted.state(), state = after.state();
    ASSERT_EQ(state.size(), expected.size());
    for (size_t i = 0; i < state.size(); ++i) {
      EXPECT_EQ(state[i].first, expected[i].first);
      EXPECT_TRUE(same_bits(state[i].second, expected[i].second)) << name << state[i].first;
    }
  }
}

at::Tensor spoilt(const at::Tensor& tensor, double value) {
  at::Tensor copy = tensor.clone();
  copy.view(-1).narrow(0, 0, 1).fill_(value);
  return copy;
}

TEST(Optimizer, HostileStatesAreRefusedAndChangeNothing) {
  for (const auto& [kind, kind_name] : EnumNames<OptimizerKind>::values) {
    Optimizer optimizer(starts(kLarge, at::kFloat), {.kind = kind});
    update(optimizer, 0, 2);
    const OptimizerState good = copy_of(optimizer.state());
    const auto refuses = [&](size_t index, const at::Tensor& value, const char* what) {
      OptimizerState bad = good;
      bad[index].second = value;
      EXPECT_THROW(optimizer.load_state(bad), FormatError)
          << kind_name << " " << bad[index].first << ": " << what;
    };
    for (size_t i = 0; i < good.size(); ++i) {
      const auto& [name, tensor] = good[i];
      refuses(i, at::zeros({3, 2}, tensor.options()), "shape");
      refuses(i, tensor.to(at::kShort), "type");
      if (name.ends_with(".step")) {
        refuses(i, at::scalar_tensor(-1, at::kLong), "negative");
        refuses(i, at::scalar_tensor(std::numeric_limits<int64_t>::max(), at::kLong), "overflow");
      } else if (tensor.is_floating_point()) {
        refuses(i, spoilt(tensor, std::numeric_limits<double>::quiet_NaN()), "NaN");
        refuses(i, spoilt(tensor, std::numeric_limits<double>::infinity()), "infinity");
        if (!name.ends_with(".exp_avg")) refuses(i, spoilt(tensor, -1), "negative");
      }
      OptimizerState renamed = good;
      renamed[i].first = "7.step";
      EXPECT_THROW(optimizer.load_state(renamed), FormatError) << kind_name;
    }
    OptimizerState more = good;
    more.emplace_back("extra", at::zeros({1}));
    EXPECT_THROW(optimizer.load_state(more), FormatError) << kind_name;
    const OptimizerState kept = copy_of(optimizer.state());
    for (size_t i = 0; i < good.size(); ++i) {
      EXPECT_TRUE(same_bits(kept[i].second, good[i].second)) << kind_name << good[i].first;
    }
  }
}

TEST(Optimizer, BytesOfStatePerElement) {
  const int64_t n = 1024 * 64;
  const auto bytes = [&](OptimizerKind kind, int64_t rows) {
    return Optimizer({leaf(at::zeros({rows, 64}, at::kFloat))}, {.kind = kind}).state_bytes() -
           (kind == OptimizerKind::sgd ? 0 : 8);  // the step count
  };
  EXPECT_EQ(bytes(OptimizerKind::adamw_torch, 1024), 8 * n);
  EXPECT_EQ(bytes(OptimizerKind::adamw_8bit, 1024), 2 * n + 8 * n / 256);
  EXPECT_EQ(bytes(OptimizerKind::paged_adamw_8bit, 1024), 2 * n + 8 * n / 256);
  EXPECT_EQ(bytes(OptimizerKind::adamw_8bit, 64), 64 * 64 * 2 + 64 * 64 * 8 / 256);
  EXPECT_EQ(bytes(OptimizerKind::adamw_8bit, 63), 63 * 64 * 8);  // under 4,096 elements
  EXPECT_EQ(bytes(OptimizerKind::sgd, 1024), 0);
  EXPECT_EQ(bytes(OptimizerKind::adafactor, 1024), 4 * (1024 + 64));
}

TEST(Optimizer, PagedSaysThatItDoesNothingOnACpu) {
  for (const auto& [kind, name] : EnumNames<OptimizerKind>::values) {
    const Optimizer optimizer({leaf(at::zeros({2}))}, {.kind = kind});
    EXPECT_EQ(optimizer.note().has_value(), kind == OptimizerKind::paged_adamw_8bit) << name;
  }
}

// Codes of large tensors are copied into, never replaced: their memory is what pages.
TEST(Optimizer, PagedStatesOfLargeTensorsStayWhereTheyAre) {
  const auto make = [](OptimizerKind kind) {
    return Optimizer(
        {leaf(at::zeros({kMinPagedElements / 100, 100}, at::kFloat)),
         leaf(at::zeros({kMinPagedElements - 1}, at::kFloat)), leaf(at::zeros({7}, at::kFloat))},
        {.kind = kind});
  };
  const auto step = [](Optimizer& optimizer, double by) {
    for (const at::Tensor& parameter : optimizer.parameters()) {
      parameter.mutable_grad() =
          at::linspace(-by, 1, parameter.numel(), at::kFloat).view(parameter.sizes());
    }
    optimizer.step(1e-2);
  };
  const auto places = [](const Optimizer& optimizer) {
    std::map<std::string, const void*> result;
    for (const auto& [name, tensor] : optimizer.state()) result[name] = tensor.const_data_ptr();
    return result;
  };
  Optimizer paged = make(OptimizerKind::paged_adamw_8bit), plain = make(OptimizerKind::adamw_8bit);
  const auto before = places(paged);
  for (const double by : {1.0, 2.0}) {
    step(paged, by);
    step(plain, by);
  }
  const auto equal_plain = [&] {
    const OptimizerState ours = paged.state(), theirs = plain.state();
    ASSERT_EQ(ours.size(), theirs.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_TRUE(same_bits(ours[i].second, theirs[i].second)) << ours[i].first;
    }
  };
  equal_plain();
  const OptimizerState saved = copy_of(paged.state());
  step(paged, 3);
  paged.load_state(saved);
  equal_plain();
  const auto after = places(paged);
  for (const char* name : {"0.exp_avg", "0.exp_avg_sq"}) {
    EXPECT_EQ(after.at(name), before.at(name)) << name;
  }
  // The second has one number too few.
  EXPECT_EQ(AdamW8bit(paged.parameters(), {}, /*paged=*/true).num_paged(), 1);
  EXPECT_EQ(AdamW8bit(paged.parameters(), {}).num_paged(), 0);
}

TEST(Blockwise8bit, ABlockThatIsNotFiniteStaysVisible) {
  for (const double bad : {std::numeric_limits<double>::infinity(), std::nan("")}) {
    at::Tensor values = at::ones({600}, at::kFloat);
    values.narrow(0, 300, 1).fill_(bad);
    const BlockwiseCodes quantized = quantize_blockwise(values, DynamicMap::with_sign);
    const at::Tensor back = dequantize_blockwise(quantized, DynamicMap::with_sign);
    EXPECT_TRUE(same_bits(back.narrow(0, 0, 256), values.narrow(0, 0, 256)));
    EXPECT_FALSE(std::isfinite(back[300].item<float>()));
    EXPECT_TRUE(same_bits(back.narrow(0, 512, 88), values.narrow(0, 512, 88)));
  }
}

}  // namespace
}  // namespace leash
