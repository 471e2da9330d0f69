// Tensors of a base that nobody reads, and heads that are not what the configuration says.
#include "models/decoder/read_tensors.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/decoder/decoder.h"
#include "tests/models/io/damage.h"
#include "tests/support/heard_notices.h"
#include "tests/support/tiny_folder.h"

namespace leash::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ReadTensors : public ::testing::Test {
 protected:
  void write(const std::vector<std::string>& more,
             const TinyOptions& options = tiny_byte_options()) {
    write_tiny_folder(folder_.path(), options, [&](NamedTensors& tensors) {
      for (const std::string& name : more) {
        tensors.emplace_back(name, at::ones({4}, at::dtype(at::kFloat)));
      }
    });
  }
  std::string error() const {
    return format_error([&] { Decoder::load(open_checkpoint(folder_.path())); });
  }
  ScratchFolder folder_;
};

TEST_F(ReadTensors, WhatNothingReadsIsNamed) {
  for (const char* name :
       {"model.layers.0.self_attn.q_norm.weight", "model.layers.1.self_attn.o_proj.bias",
        "model.layers.2.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.lora_A.weight",
        "model.norm.bias", "score.bias", "model.embed_tokens.weight_scale"}) {
    write({name});
    EXPECT_THAT(error(),
                AllOf(HasSubstr("holds a tensor that nothing here reads: "), HasSubstr(name)));
  }
  write({"a\x1b[2J", "b", "c", "d", "e", "f"});
  EXPECT_THAT(error(), HasSubstr("reads: a\\x1b[2J, b, c, d and 2 more;"));
}

TEST_F(ReadTensors, WhatAFamilyLeavesOutIsSaidOnce) {
  HeardNotices heard;
  write({"model.layers.0.self_attn.rotary_emb.inv_freq", "v_head.summary.weight"});
  EXPECT_EQ(error(), "");
  EXPECT_EQ(error(), "");
  EXPECT_THAT(heard.texts,
              ElementsAre(AllOf(HasSubstr("left out, since they change no number here: "),
                                HasSubstr("0.self_attn.rotary_emb.inv_freq, v_head.summary"))));
  write({"model.my_rotary_emb.inv_freqs"});
  EXPECT_THAT(error(), HasSubstr("nothing here reads"));
}

TEST_F(ReadTensors, ScoreHeadsAreRead) {
  TinyOptions options = tiny_byte_options();
  options.num_labels = 2;
  write({}, options);
  EXPECT_EQ(error(), "");
}

// A tied configuration beside a head of its own: what was trained is in the file.
TEST_F(ReadTensors, AHeadThatDiffersFromTheEmbeddingIsUsed) {
  TinyOptions untied = tiny_byte_options();
  untied.tie_word_embeddings = false;
  write_tiny_folder(folder_ / "untied", untied);
  write_tiny_folder(folder_ / "tied");
  std::filesystem::copy_file(folder_ / "untied/model.safetensors",
                             folder_ / "tied/model.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  HeardNotices heard;
  const auto wanted = Decoder::load(open_checkpoint(folder_ / "untied"));
  EXPECT_TRUE(heard.texts.empty());
  const auto read = Decoder::load(open_checkpoint(folder_ / "tied"));
  EXPECT_EQ(read->weights_digest(), wanted->weights_digest());
  EXPECT_EQ(read->num_parameters(), wanted->num_parameters());
  EXPECT_THAT(heard.texts,
              ElementsAre(HasSubstr("lm_head.weight is not the embedding: it is used")));
}

TEST_F(ReadTensors, AHeadThatRepeatsTheEmbeddingStaysTied) {
  write_tiny_folder(folder_ / "tied");
  const auto tied = Decoder::load(open_checkpoint(folder_ / "tied"));
  HeardNotices heard;
  write_tiny_folder(folder_ / "twice", tiny_byte_options(), [](NamedTensors& tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].first != "model.embed_tokens.weight") continue;
      tensors.emplace_back("lm_head.weight", tensors[i].second);
      break;
    }
  });
  const auto twice = Decoder::load(open_checkpoint(folder_ / "twice"));
  EXPECT_TRUE(twice->config().tie_word_embeddings);
  EXPECT_EQ(twice->num_parameters(), tied->num_parameters());
  EXPECT_TRUE(heard.texts.empty());
}

}  // namespace
}  // namespace leash::testing
