// Merging, and what other programs' files say of it, on tiny models in memory and in folders.
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/export/gguf_adapter.h"
#include "models/export/gguf_model.h"
#include "models/export/hf_config.h"
#include "models/export/hf_folder.h"
#include "models/export/merged_checkpoint.h"
#include "models/export/output_path.h"
#include "models/io/gguf.h"
#include "models/quant/block_formats.h"
#include "models/quant/encode_blocks.h"
#include "rollout/scoring.h"
#include "tests/models/tokenizer/tiny.h"
#include "tests/support/files.h"
#include "tests/support/tiny_folder.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

std::vector<double> scores_of(const Decoder& decoder, const Adapter* adapter) {
  const std::vector<ScoredText> texts = {{.ids = {5, 9, 2, 41, 77, 3, 12, 60, 8, 1, 30}}};
  return score_texts(decoder, adapter, texts)[0].logprobs;
}

double gap(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST(MergedCheckpoint, ComputesWhatTheAdapterDoes) {
  const Checkpoint base = tiny_checkpoint();
  const auto decoder = Decoder::load(base);
  const Adapter adapter = tiny_adapter(*decoder);
  const auto merged = Decoder::load(merged_checkpoint(base, adapter));
  EXPECT_GT(gap(scores_of(*decoder, nullptr), scores_of(*decoder, &adapter)), 0.1);
  EXPECT_LT(gap(scores_of(*merged, nullptr), scores_of(*decoder, &adapter)), 1e-5);
}

// With a shared weight the other one keeps the base's, as in PEFT.
TEST(MergedCheckpoint, ATrainedEmbeddingLeavesTheHead) {
  const Checkpoint base = tiny_checkpoint();
  const auto decoder = Decoder::load(base);
  ASSERT_TRUE(base.config.tie_word_embeddings);
  const LoraConfig config{.r = 2, .modules_to_save = {"embed_tokens"}};
  Adapter adapter = Adapter::create(config, decoder->modules(), 1, [&](int64_t module, bool bias) {
    return decoder->base_value(module, bias);
  });
  adapter.set_weight_copy(0, at::randn({base.config.vocab_size, base.config.hidden_size}));
  const Checkpoint merged = merged_checkpoint(base, adapter);
  EXPECT_FALSE(merged.config.tie_word_embeddings);
  EXPECT_TRUE(at::equal(merged.tensors->read("lm_head.weight", at::kFloat),
                        base.tensors->read("model.embed_tokens.weight", at::kFloat)));
  const auto loaded = Decoder::load(merged);
  EXPECT_LT(gap(scores_of(*loaded, nullptr), scores_of(*decoder, &adapter)), 1e-5);
}

class ExportedFolder : public ::testing::Test {
 protected:
  void SetUp() override { write_tiny_folder(folder_ / "base"); }
  ScratchFolder folder_;
};

TEST_F(ExportedFolder, IsReadAgainInOneFileAndInShards) {
  const Checkpoint base = open_checkpoint(folder_ / "base");
  const auto decoder = Decoder::load(base);
  const Adapter adapter = tiny_adapter(*decoder);
  const Checkpoint merged = merged_checkpoint(base, adapter);
  write_hf_folder(folder_ / "one", merged, at::kFloat);
  write_hf_folder(folder_ / "many", merged, at::kFloat, /*max_shard_bytes=*/20'000);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "many/model.safetensors.index.json"));
  for (const char* name : {"one", "many"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / name / "tokenizer.json"));
    const auto loaded = Decoder::load(open_checkpoint(folder_ / name));
    EXPECT_LT(gap(scores_of(*loaded, nullptr), scores_of(*decoder, &adapter)), 1e-5) << name;
  }
}

// What llama.cpp computes: W x + (alpha / rank) B A x, ranks by module, one alpha.
TEST(GgufAdapter, ComesBackWithItsScalesAndRows) {
  const ScratchFolder folder;
  Checkpoint base = tiny_checkpoint();
  const auto decoder = Decoder::load(base);
  LoraConfig config{.r = 4, .lora_alpha = 8, .target_modules = "all-linear", .use_rslora = true};
  config.alpha_pattern = {{"v_proj", 3.0}};
  config.rank_pattern = {{"k_proj", 2}};
  const Adapter adapter = tiny_adapter(*decoder, 3, 0.3, config);
  base.path = folder.path();  // a family's own architecture, as of a folder
  write_gguf_adapter(folder / "a.gguf", base, adapter, BlockType::f32);
  const auto file = GgufFile::open(folder / "a.gguf");
  EXPECT_EQ(file->string_value("general.type"), "adapter");
  EXPECT_NEAR(*file->float_value("adapter.lora.alpha"), 8 * std::sqrt(4.0), 1e-6);
  const at::Tensor stored = file->read("blk.0.attn_q.weight.lora_b", at::kFloat);
  const int64_t query = 1;  // behind the embedding
  EXPECT_FALSE(at::equal(stored, adapter.lora(query)->b.detach()));
  const Adapter read = read_gguf_adapter(folder / "a.gguf", base, adapter);
  EXPECT_LT(gap(scores_of(*decoder, &read), scores_of(*decoder, &adapter)), 1e-5);
}

TEST(GgufAdapter, NamesWhatHasNoPlace) {
  const ScratchFolder folder;
  Checkpoint base = tiny_checkpoint();
  const auto decoder = Decoder::load(base);
  base.path = folder.path();
  const LoraConfig config{.r = 2, .modules_to_save = {"norm"}};
  const Adapter adapter = Adapter::create(config, decoder->modules(), 1, [&](int64_t i, bool bias) {
    return decoder->base_value(i, bias);
  });
  EXPECT_THAT(
      format_error([&] { write_gguf_adapter(folder / "a.gguf", base, adapter, BlockType::f32); }),
      HasSubstr("the trained weight of model.layers.0.input_layernorm"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.gguf"));
}

TEST(EncodeBlocks, AreReadBack) {
  const at::Tensor values = at::randn({6, 64});
  for (const BlockType type : {BlockType::f32, BlockType::f16, BlockType::bf16, BlockType::q8_0}) {
    const at::Tensor bytes = encode_blocks(values, type);
    at::Tensor read = at::zeros_like(values);
    dequantize(type, {static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()},
               values.numel(), read.mutable_data_ptr<float>());
    EXPECT_TRUE(at::allclose(read, values, 1e-2, type == BlockType::q8_0 ? 2e-2 : 0.0));
  }
}

TEST(OutputPath, AppearsWholeAndTakesNobodysPlace) {
  const ScratchFolder folder;
  {
    OutputPath out(folder / "a");
    write_text(out.aside(), "half");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  OutputPath out(folder / "a");
  write_text(out.aside(), "whole");
  out.commit();
  EXPECT_EQ(read_text(folder / "a"), "whole");
  EXPECT_THROW(OutputPath(folder / "a"), ConfigError);
  EXPECT_THROW(OutputPath(folder / "nowhere/a"), ConfigError);
}

TEST(DifferentFact, NamesIt) {
  const DecoderConfig a = tiny_checkpoint().config;
  EXPECT_EQ(different_fact(a, a), std::nullopt);
  DecoderConfig b = a;
  b.layers.resize(static_cast<size_t>(b.num_layers));
  EXPECT_EQ(different_fact(a, b), std::nullopt);
  b.layers[1].window = 4;
  EXPECT_EQ(different_fact(a, b), "layers (windows, rotations)");
}

}  // namespace
}  // namespace leash::testing
