// GGUF metadata as a decoder's facts, and what is refused because it would change the numbers.
#include "models/io/gguf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/io/gguf_checkpoint.h"
#include "models/io/gguf_rope.h"
#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

struct Facts {
  std::string architecture = "llama";
  uint32_t context = 48, hidden = 32, layers = 1, mlp = 32, heads = 4;
  GgufBytes more;
};

std::string file_of(const Facts& facts) {
  GgufBytes gguf = facts.more;
  const std::string prefix = facts.architecture + ".";
  gguf.string("general.architecture", facts.architecture);
  gguf.u32(prefix + "context_length", facts.context).u32(prefix + "embedding_length", facts.hidden);
  gguf.u32(prefix + "block_count", facts.layers).u32(prefix + "feed_forward_length", facts.mlp);
  gguf.u32(prefix + "attention.head_count", facts.heads).u32(prefix + "vocab_size", 24);
  gguf.f32(prefix + "attention.layer_norm_rms_epsilon", 1e-5F);
  return gguf.bytes();
}

class GgufConfig : public ::testing::Test {
 protected:
  Checkpoint open(const Facts& facts) const {
    write_text(folder_ / "x.gguf", file_of(facts));
    return open_checkpoint(folder_ / "x.gguf");
  }
  DecoderConfig config(const std::function<void(Facts&)>& change) const {
    Facts facts;
    change(facts);
    return open(facts).config;
  }
  std::string error(const std::function<void(Facts&)>& change) const {
    const std::string error = format_error([&] { config(change); });
    if (!error.empty()) {
      EXPECT_THAT(error, HasSubstr("x.gguf"));
    }
    return error;
  }
  ScratchFolder folder_;
};

TEST_F(GgufConfig, Defaults) {
  const DecoderConfig facts = config([](Facts&) {});
  EXPECT_EQ(facts.num_kv_heads, 4);
  EXPECT_EQ(facts.head_dim, 8);
  EXPECT_EQ(facts.rope.theta, 10000.0);
  EXPECT_EQ(facts.rope.scaling, RopeScaling::none);
  EXPECT_TRUE(facts.tie_word_embeddings);  // there is no output.weight
  EXPECT_TRUE(facts.eos_token_ids.empty());
}

TEST_F(GgufConfig, TokensThatEndAnAnswer) {
  const DecoderConfig facts = config([](Facts& f) {
    f.more.u32("tokenizer.ggml.eos_token_id", 3).u32("tokenizer.ggml.eot_token_id", 5);
    f.more.u32("tokenizer.ggml.bos_token_id", 0xffffffff);
    f.more.entry("tokenizer.ggml.padding_token_id", 5, bytes_of(-1));
  });
  EXPECT_EQ(facts.eos_token_ids, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(facts.bos_token_id, std::nullopt);
  EXPECT_EQ(facts.pad_token_id, std::nullopt);
  EXPECT_THAT(error([](Facts& f) { f.more.u32("tokenizer.ggml.eos_token_id", 24); }),
              HasSubstr("outside of the vocabulary"));
}

TEST_F(GgufConfig, LinearScaling) {
  const auto rope = config([](Facts& f) {
                      f.more.string("llama.rope.scaling.type", "linear");
                      f.more.f32("llama.rope.scaling.factor", 4.0F);
                    }).rope;
  EXPECT_EQ(rope.scaling, RopeScaling::linear);
  EXPECT_EQ(rope.factor, 4.0);
  EXPECT_EQ(config([](Facts& f) { f.more.f32("llama.rope.scale_linear", 2.0F); }).rope.factor, 2.0);
  EXPECT_EQ(config([](Facts& f) {
              f.more.f32("llama.rope.scaling.factor", 4.0F);
              f.more.string("llama.rope.scaling.type", "none");
            }).rope.scaling,
            RopeScaling::none);
  EXPECT_THAT(error([](Facts& f) { f.more.string("llama.rope.scaling.type", "ntk"); }),
              HasSubstr("'ntk'"));
  EXPECT_NE(error([](Facts& f) { f.more.f32("llama.rope.scaling.factor", -2.0F); }), "");
  EXPECT_NE(error([](Facts& f) { f.more.f32("llama.rope.scaling.factor", NAN); }), "");
}

// rope_freqs.weight holds the divisors of Llama 3's scaling, which must be recognised exactly.
Facts with_divisors(double factor, float nudge = 1.0F) {
  Facts facts;
  facts.more.f32("llama.rope.freq_base", 500000.0F);
  facts.hidden = 256;  // heads of 64
  std::string divisors;
  for (int i = 0; i < 32; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(500000.0, 2.0 * i / 64);
    const double smooth = (8192 / wavelength - 1) / 3;
    const double divisor = wavelength < 2048   ? 1
                           : wavelength > 8192 ? factor
                                               : 1 / ((1 - smooth) / factor + smooth);
    divisors += bytes_of(static_cast<float>(divisor) * (i == 20 ? nudge : 1.0F));
  }
  facts.more.tensor("rope_freqs.weight", {32}, 0, 0);
  facts.more.data = divisors;
  return facts;
}

TEST_F(GgufConfig, Llama3Scaling) {
  for (const double factor : {8.0, 32.0}) {
    const Checkpoint checkpoint = open(with_divisors(factor));
    EXPECT_EQ(checkpoint.config.rope.scaling, RopeScaling::llama3);
    EXPECT_EQ(checkpoint.config.rope.factor, factor);
    EXPECT_TRUE(checkpoint.tensors->names().empty());  // the divisors are no weight
  }
  // Other constants than those of the published models: the list itself.
  const RopeConfig own = open(with_divisors(8.0, 1.01F)).config.rope;
  EXPECT_EQ(own.scaling, RopeScaling::longrope);
  EXPECT_EQ(own.factors.size(), 32U);
  for (const float nudge : {0.0F, -1.0F, NAN, INFINITY}) {
    EXPECT_THAT(format_error([&] { open(with_divisors(8.0, nudge)); }),
                HasSubstr("rope_freqs.weight holds"));
  }
}

TEST_F(GgufConfig, WhatWouldChangeTheNumbersIsRefused) {
  for (const char* key : {"llama.some_new_thing", "llama.attention.scale", "llama.expert_count"}) {
    EXPECT_THAT(error([&](Facts& f) { f.more.u32(key, 7); }), HasSubstr(key));
  }
  EXPECT_EQ(error([](Facts& f) { f.more.u32("llama.expert_count", 0); }), "");
  EXPECT_EQ(error([](Facts& f) { f.more.u32("other.thing", 7); }), "");
  EXPECT_THAT(error([](Facts& f) { f.more.u32("llama.rope.dimension_count", 4); }),
              HasSubstr("rotating 4"));
  EXPECT_THAT(error([](Facts& f) { f.more.u32("llama.attention.value_length", 4); }),
              HasSubstr("different lengths"));
  EXPECT_THAT(error([](Facts& f) { f.more.u32("llama.attention.sliding_window", 16); }),
              HasSubstr("sliding-window"));
  EXPECT_EQ(error([](Facts& f) { f.more.u32("llama.attention.sliding_window", 48); }), "");
  EXPECT_THAT(error([](Facts& f) {
                f.more.array("llama.attention.head_count_kv", 4, 1, bytes_of<uint32_t>(2));
              }),
              HasSubstr("an array of uint32"));
}

TEST_F(GgufConfig, OtherKindsOfFile) {
  EXPECT_THAT(error([](Facts& f) { f.architecture = "gpt9"; }), HasSubstr("'gpt9'"));
  EXPECT_THAT(error([](Facts& f) { f.architecture = "\xFF\xFE"; }), HasSubstr("not supported"));
  EXPECT_THAT(error([](Facts& f) { f.more.string("general.type", "adapter"); }),
              HasSubstr("'adapter'"));
  EXPECT_THAT(error([](Facts& f) { f.more.u32("split.count", 3); }),
              HasSubstr("is one of 3 parts"));
  write_text(folder_ / "x.gguf", GgufBytes().u32("a", 1).bytes());
  EXPECT_THAT(format_error([&] { open_checkpoint(folder_ / "x.gguf"); }),
              HasSubstr("'general.architecture' is missing"));
  write_text(folder_ / "x.gguf", GgufBytes().string("general.architecture", "llama").bytes());
  EXPECT_NE(format_error([&] { open_checkpoint(folder_ / "x.gguf"); }), "");
}

TEST_F(GgufConfig, AbsurdSizes) {
  EXPECT_NE(error([](Facts& f) { f.heads = 0; }), "");
  EXPECT_NE(error([](Facts& f) { f.heads = 0xffffffff; }), "");
  EXPECT_NE(error([](Facts& f) { f.hidden = 0; }), "");
  EXPECT_NE(error([](Facts& f) { f.hidden = 0xfffffff0; }), "");
  EXPECT_NE(error([](Facts& f) { f.layers = 0; }), "");
  EXPECT_NE(error([](Facts& f) { f.layers = 1'000'000'000; }), "");
  EXPECT_NE(error([](Facts& f) { f.context = 0; }), "");
  EXPECT_NE(error([](Facts& f) { f.context = 1U << 30; }), "");  // its rotary table alone: 32 GiB
  EXPECT_NE(error([](Facts& f) { f.mlp = 0; }), "");
  EXPECT_NE(error([](Facts& f) { f.more.u32("llama.attention.head_count_kv", 3); }), "");
  EXPECT_NE(error([](Facts& f) { f.more.u32("llama.attention.head_count_kv", 0); }), "");
  EXPECT_NE(error([](Facts& f) { f.more.f32("llama.rope.freq_base", 0.0F); }), "");
  EXPECT_NE(error([](Facts& f) { f.more.f32("llama.rope.freq_base", NAN); }), "");
}

TEST_F(GgufConfig, TensorsThatBelongNowhere) {
  for (const char* name : {"blk.0.attn_qkv.weight", "blk.00.attn_q.weight", "blk.x.attn_q.weight",
                           "blk..attn_q.weight", "blk.0.weight", "x", "", "\xFF.weight",
                           "blk.99999999999999999999.attn_q.weight", "rope_freqs.bias"}) {
    EXPECT_THAT(error([&](Facts& f) {
                  f.more.tensor(name, {1}, 0, 0);
                  f.more.data = std::string(4, '\0');
                }),
                HasSubstr("belongs to no part"))
        << name;
  }
}

TEST_F(GgufConfig, RowsThatAreNoHeads) {
  Facts facts;
  facts.more.tensor("blk.0.attn_q.weight", {4, 6}, 0, 0).tensor("blk.0.attn_k.bias", {}, 0, 96);
  facts.more.data = std::string(128, '\0');
  const Checkpoint checkpoint = open(facts);
  for (const char* name : {"self_attn.q_proj.weight", "self_attn.k_proj.bias"}) {
    EXPECT_THAT(format_error([&] {
                  checkpoint.tensors->read(std::string("model.layers.0.") + name, at::kFloat);
                }),
                HasSubstr("cannot be 4 heads"));
  }
  EXPECT_NE(format_error([&] { checkpoint.tensors->read("none", at::kFloat); }), "");
}

TEST_F(GgufConfig, NoTensorMayBeLeftOver) {
  Facts facts;
  facts.more.tensor("blk.1.attn_norm.weight", {32}, 0, 0);
  facts.more.data = std::string(128, '\0');
  EXPECT_THAT(format_error([&] { Decoder::load(open(facts)); }),
              HasSubstr("'blk.1.attn_norm.weight' belongs to no part of a decoder"));
}

}  // namespace
}  // namespace leash::testing
