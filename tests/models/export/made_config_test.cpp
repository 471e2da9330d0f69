// config.json made for a GGUF: read back it has to say the same facts, in every architecture.
#include "models/export/made_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "models/export/hf_config.h"
#include "models/families/families.h"
#include "models/io/checkpoint.h"
#include "models/io/json_file.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

DecoderConfig said_and_read(const DecoderConfig& facts) {
  auto json = made_config(facts, "made");
  json["tie_word_embeddings"] = facts.tie_word_embeddings;
  return config_from_json(nlohmann::json(json), "made");
}

TEST(MadeConfig, SaysTheFactsOfEveryArchitecture) {
  int64_t files = 0;
  for (const auto& entry : fs::directory_iterator(LEASH_SOURCE_DIR "/tests/golden/gguf_families")) {
    if (entry.path().extension() != ".gguf") continue;
    const DecoderConfig facts = open_checkpoint(entry.path()).config;
    const bool has_table = facts.rope.scaling == RopeScaling::longrope;
    EXPECT_EQ(different_fact(said_and_read(facts), facts).value_or("none"),
              has_table ? "rope" : "none")
        << entry.path();
    ++files;
  }
  EXPECT_GE(files, 20);
}

// transformers' own folders of the families that GGUF has, whose facts are further from defaults.
TEST(MadeConfig, SaysOrLeavesOutWhatFoldersSay) {
  int64_t said = 0;
  for (const auto& entry : fs::directory_iterator(LEASH_SOURCE_DIR "/tests/golden/families")) {
    const DecoderConfig facts = open_checkpoint(entry.path()).config;
    if (facts.family == "opt" || facts.num_labels > 0) continue;
    const auto different = different_fact(said_and_read(facts), facts);
    if (!different) ++said;
    // What no GGUF can say either.
    EXPECT_TRUE(!different || facts.rope.scaling != RopeScaling::none ||
                facts.family.starts_with("gemma3"))
        << entry.path() << ": " << *different;
  }
  EXPECT_GE(said, 18);
}

TEST(MadeConfig, NamesTheClass) {
  EXPECT_EQ(class_name({.family = "gpt2"}, "x"), "GPT2LMHeadModel");
  EXPECT_EQ(class_name({.family = "qwen3", .num_labels = 1}, "x"),
            "Qwen3ForSequenceClassification");
}

}  // namespace
}  // namespace leash
