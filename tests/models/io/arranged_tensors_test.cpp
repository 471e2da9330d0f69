// Names and orientation of a folder's tensors, as several kinds of files have them.
#include "models/io/arranged_tensors.h"

#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "models/families/decoder_modules.h"
#include "tests/support/tensors.h"
#include "tests/support/tiny_families.h"
#include "tests/support/tiny_model.h"

namespace leash {
namespace {

using testing::MemoryTensors;
using testing::same_bits;

const Checkpoint& family(std::string_view name) {
  static const auto families = testing::tiny_families();
  for (const auto& one : families) {
    if (one.name == name) return one.checkpoint;
  }
  throw std::out_of_range("no such family");
}

// A file that calls its tensors otherwise, and has the weights of its linear layers as Hugging Face
// does.
template <class Rename>
std::shared_ptr<const MemoryTensors> written(const Checkpoint& checkpoint, const Rename& rename) {
  auto file = std::make_shared<MemoryTensors>();
  for (const ModuleInfo& module : decoder_modules(checkpoint.config)) {
    for (const std::string& name : {module.path + ".weight", module.path + ".bias"}) {
      if (!checkpoint.tensors->contains(name)) continue;
      const at::Tensor tensor = checkpoint.tensors->read(name, at::kDouble);
      const bool turned = module.transposed && tensor.dim() == 2;
      file->tensors[rename(name)] = turned ? tensor.t().contiguous() : tensor;
    }
  }
  return file;
}

void expect_arranged(const Checkpoint& checkpoint, std::shared_ptr<const TensorSource> file) {
  const auto found = arranged(std::move(file), checkpoint.config);
  EXPECT_EQ(found->names(), checkpoint.tensors->names());
  for (const std::string& name : checkpoint.tensors->names()) {
    ASSERT_TRUE(found->contains(name)) << name;
    EXPECT_EQ(found->shape(name), checkpoint.tensors->shape(name)) << name;
    EXPECT_TRUE(
        same_bits(found->read(name, at::kDouble), checkpoint.tensors->read(name, at::kDouble)))
        << name;
  }
}

TEST(ArrangedTensors, FilesWithTheDecodersNamesStayThemselves) {
  for (const auto& [name, checkpoint] : testing::tiny_families()) {
    const auto file = written(checkpoint, [](const std::string& own) { return own; });
    if (!checkpoint.config.weights_transposed) {
      EXPECT_EQ(arranged(file, checkpoint.config), file) << name;
    }
    expect_arranged(checkpoint, file);
  }
}

TEST(ArrangedTensors, FilesOfBaseModelsHaveNoTrunk) {
  for (const auto& [name, checkpoint] : testing::tiny_families()) {
    SCOPED_TRACE(name);
    expect_arranged(checkpoint, written(checkpoint, [](const std::string& own) {
                      return own.starts_with("lm_head.") ? own : own.substr(own.find('.') + 1);
                    }));
  }
}

TEST(ArrangedTensors, HeadsAndTrunksUnderOtherNames) {
  DecoderConfig config = family("phi3").config;
  config.family = "gpt_neox";
  Checkpoint neox = testing::random_checkpoint(config);
  expect_arranged(neox, written(neox, [](std::string name) {
                    return name.starts_with("lm_head") ? "embed_out" + name.substr(7) : name;
                  }));
  config = family("gemma3_text").config;
  config.family = "gemma3";
  config.tie_word_embeddings = false;
  const Checkpoint gemma = testing::random_checkpoint(config);
  const std::string trunk = "model.language_model";
  EXPECT_TRUE(gemma.tensors->contains(trunk + ".layers.0.self_attn.q_norm.weight"));
  expect_arranged(gemma, written(gemma, [&](const std::string& name) {
                    return name.starts_with(trunk)
                               ? "language_model.model" + name.substr(trunk.size())
                               : "language_model." + name;
                  }));
}

TEST(ArrangedTensors, WhatBelongsToNoModuleStays) {
  auto file = std::make_shared<MemoryTensors>(*written(
      family("gpt2"), [](const std::string& name) { return name.substr(name.find('.') + 1); }));
  file->tensors["h.0.attn.masked_bias"] = file->tensors["score.weight"] = at::arange(3.0);
  const auto found = arranged(file, family("gpt2").config);
  EXPECT_TRUE(found->contains("h.0.attn.masked_bias"));
  EXPECT_TRUE(found->contains("score.weight"));
  EXPECT_FALSE(found->contains("wte.weight"));
  EXPECT_TRUE(found->contains("transformer.wte.weight"));
}

}  // namespace
}  // namespace leash
