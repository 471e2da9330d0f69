// Whole GGUF files written by gguf-py: against the weights they were made of, and against what
// transformers loads from them (tests/golden/make_gguf.py).
#include <gtest/gtest.h>

#include "models/decoder/decoder.h"
#include "models/export/hf_config.h"
#include "models/io/checkpoint.h"
#include "models/io/gguf.h"
#include "models/io/gguf_checkpoint.h"
#include "models/io/safetensors.h"
#include "tests/support/files.h"
#include "tests/support/tensors.h"

namespace leash::testing {
namespace {

std::filesystem::path golden_file(const std::string& name) {
  return repository("tests/golden/" + name);
}

void expect_equal(const TensorSource& actual, const TensorSource& expected) {
  EXPECT_EQ(actual.names(), expected.names());
  for (const std::string& name : expected.names()) {
    ASSERT_TRUE(actual.contains(name)) << name;
    EXPECT_EQ(actual.shape(name), expected.shape(name)) << name;
    EXPECT_TRUE(same_bits(actual.read(name, at::kFloat), expected.read(name, at::kFloat))) << name;
  }
}

// Version 3, F32, with biases; q and k rows, their biases too, come back in Hugging Face's order.
TEST(GoldenGguf, WeightsAreTheOriginal) {
  const Checkpoint gguf = open_checkpoint(golden_file("gguf/tiny_v3.gguf"));
  const Checkpoint original = open_checkpoint(golden_file("tiny_sharded"));
  expect_equal(*gguf.tensors, *original.tensors);
}

TEST(GoldenGguf, FactsAreTheOriginal) {
  const DecoderConfig gguf = open_checkpoint(golden_file("gguf/tiny_v3.gguf")).config;
  const DecoderConfig original = open_checkpoint(golden_file("tiny_sharded")).config;
  EXPECT_EQ(different_fact(gguf, original), std::nullopt);
  EXPECT_EQ(gguf.bos_token_id, original.bos_token_id);
  EXPECT_EQ(gguf.pad_token_id, original.pad_token_id);
  EXPECT_EQ(gguf.rope.theta, 5000.0);
  EXPECT_EQ(gguf.eos_token_ids, std::vector<int64_t>{2});
}

// Version 2, eight types; transformers dequantises and undoes the permutation on its own.
TEST(GoldenGguf, QuantisedWeightsAreWhatTransformersLoads) {
  const Checkpoint gguf = open_checkpoint(golden_file("gguf/tiny_v2.gguf"));
  expect_equal(*gguf.tensors, *open_safetensors(golden_file("gguf/tiny_v2.safetensors")));
  EXPECT_FALSE(gguf.config.qkv_bias);
  EXPECT_FALSE(gguf.config.tie_word_embeddings);
}

TEST(GoldenGguf, DecodersAgree) {
  const auto from_gguf = Decoder::load(open_checkpoint(golden_file("gguf/tiny_v3.gguf")));
  const auto original = Decoder::load(open_checkpoint(golden_file("tiny_sharded")));
  const PackedTokens tokens = pack_one({1, 5, 23, 0, 7, 7});
  EXPECT_TRUE(same_bits(from_gguf->logits(from_gguf->forward(tokens)),
                        original->logits(original->forward(tokens))));
}

TEST(GoldenGguf, RawTensorsKeepTheirTypeAndPlace) {
  const auto file = GgufFile::open(golden_file("gguf/tiny_v2.gguf"));
  const auto raw = file->raw("blk.0.attn_q.weight");
  EXPECT_EQ(raw.type, BlockType::q8_0);
  EXPECT_EQ(raw.shape, (std::vector<int64_t>{32, 32}));
  EXPECT_EQ(raw.bytes.size(), 32U * 34U);
  EXPECT_EQ(file->raw("blk.0.attn_k.weight").type, BlockType::q4_0);
  EXPECT_EQ(file->raw("blk.0.ffn_down.weight").type, BlockType::bf16);
  EXPECT_EQ(file->strings("tokenizer.ggml.tokens")->size(), 24U);
  EXPECT_EQ(file->strings("tokenizer.ggml.tokens")->at(23), "t23");
  EXPECT_EQ(file->metadata_keys().front(), "general.architecture");
}

}  // namespace
}  // namespace leash::testing
