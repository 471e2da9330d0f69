// Folders as transformers writes them, whole and broken.
#include "models/io/hf_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/lora/peft_adapter.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

class HfCheckpoint : public ::testing::Test {
 protected:
  HfCheckpoint() {
    fs::copy(repository("tests/golden/tiny_sharded"), folder_.path(), fs::copy_options::recursive);
  }
  std::string error() const {
    return format_error([&] { Decoder::load(open_checkpoint(folder_.path())); });
  }
  void patch(const char* file, const char* patch) const {
    json changed = json::parse(read_text(folder_ / file));
    changed.merge_patch(json::parse(patch));
    write_text(folder_ / file, changed.dump());
  }
  ScratchFolder folder_;
};

TEST_F(HfCheckpoint, AFolderOfTransformers) {
  EXPECT_EQ(error(), "");
  const Checkpoint checkpoint = open_checkpoint(folder_.path());
  EXPECT_EQ(checkpoint.path, folder_.path());
  EXPECT_EQ(checkpoint.config.rope.theta, 5000.0);
  EXPECT_TRUE(checkpoint.config.qkv_bias);
}

TEST_F(HfCheckpoint, GenerationConfigIsRead) {
  patch("generation_config.json", R"({"eos_token_id": [4, 6]})");
  EXPECT_EQ(open_checkpoint(folder_.path()).config.eos_token_ids, (std::vector<int64_t>{4, 6}));
  patch("generation_config.json", R"({"eos_token_id": 24})");
  EXPECT_THAT(error(), HasSubstr("generation_config.json"));
  fs::remove(folder_ / "generation_config.json");
  EXPECT_EQ(open_checkpoint(folder_.path()).config.eos_token_ids, std::vector<int64_t>{2});
}

TEST_F(HfCheckpoint, FilesThatAreMissing) {
  fs::remove(folder_ / "model.safetensors.index.json");
  EXPECT_THAT(error(), HasSubstr("holds neither model.safetensors nor"));
  write_text(folder_ / "pytorch_model.bin", "x");
  EXPECT_THAT(error(), HasSubstr("pickled"));
  write_text(folder_ / "adapter_config.json", "{}");
  EXPECT_THAT(error(), HasSubstr("it is an adapter"));
  fs::remove(folder_ / "config.json");
  EXPECT_THAT(error(), HasSubstr("holds no config.json"));
  EXPECT_THAT(format_error([&] { open_checkpoint(folder_ / "none"); }), HasSubstr("no such file"));
  EXPECT_THAT(format_error([&] { open_checkpoint(folder_ / "model-00001-of-00002.safetensors"); }),
              HasSubstr("give the folder"));
}

TEST_F(HfCheckpoint, EveryPrefixOfTheConfigIsRefused) {
  const std::string whole = json::parse(read_text(folder_ / "config.json")).dump();
  for (size_t size = 0; size < whole.size(); ++size) {
    write_text(folder_ / "config.json", whole.substr(0, size));
    EXPECT_THAT(error(), HasSubstr("config.json")) << size;
  }
}

// A configuration larger than its weights is noticed before anything of its size is made.
TEST_F(HfCheckpoint, ConfigsThatDoNotFitTheWeights) {
  for (const char* change :
       {R"({"hidden_size": 64})", R"({"vocab_size": 16777216})", R"({"num_hidden_layers": 10000})",
        R"({"intermediate_size": 16777216})", R"({"num_attention_heads": 8})",
        R"({"num_key_value_heads": 1})", R"({"mlp_bias": true})"}) {
    fs::copy_file(repository("tests/golden/tiny_sharded/config.json"), folder_ / "config.json",
                  fs::copy_options::overwrite_existing);
    patch("config.json", change);
    EXPECT_NE(error(), "") << change;
  }
}

// Paths that the system cannot even look at are missing files, and no other kind of error.
TEST(Paths, ThatCannotBeLookedAt) {
  const std::string path(5000, 'x');
  EXPECT_NE(format_error([&] { open_checkpoint(path); }), "");
  EXPECT_NE(format_error([&] { read_adapter_config(path); }), "");
  EXPECT_NE(format_error([&] { load_adapter(path, {}); }), "");
  EXPECT_NE(format_error([&] { Tokenizer::load(path); }), "");
}

TEST(ResolveModel, NamesAndPaths) {
  EXPECT_THAT(format_error([] { resolve_model(""); }), HasSubstr("no model at ''"));
  EXPECT_THAT(format_error([] { resolve_model("/nowhere/x"); }), HasSubstr("/nowhere/x"));
  EXPECT_NE(format_error([] { resolve_model(std::string(9000, 'x')); }), "");
  EXPECT_EQ(resolve_model("/"), "/");
  // A name on the hub, as a recipe's folder makes it a path.
  const ScratchFolder folder;
  EXPECT_THAT(format_error([&] { resolve_model((folder / "Some-Org/Model-1.5B").string()); }),
              HasSubstr("`hf download Some-Org/Model-1.5B`"));
  EXPECT_THAT(format_error([] { resolve_model("Some-Org/Model-1.5B@v2"); }),
              HasSubstr("`hf download Some-Org/Model-1.5B --revision v2`"));
  for (const char* path : {"model", "there/../x.gguf"}) {
    EXPECT_THAT(format_error([&] { resolve_model((folder / path).string()); }),
                ::testing::Not(HasSubstr("hf download")));
  }
}

}  // namespace
}  // namespace leash::testing
