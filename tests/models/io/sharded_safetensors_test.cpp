// Several safetensors files behind one index: what transformers wrote, and indexes that lie.
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/io/safetensors.h"
#include "tests/models/io/damage.h"
#include "tests/support/tensors.h"

namespace leash::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kIndex = "model.safetensors.index.json";

std::filesystem::path golden_shard(const std::string& name) {
  return repository("tests/golden/tiny_sharded") / name;
}

TEST(GoldenShardedSafetensors, EveryTensorComesFromItsShard) {
  const auto source = open_sharded_safetensors(golden_shard(kIndex));
  const json map = json::parse(read_text(golden_shard(kIndex)))["weight_map"];
  EXPECT_EQ(source->names().size(), map.size());
  int64_t bytes = 0;
  for (const auto& [name, shard] : map.items()) {
    const at::Tensor read = source->read(name, at::kFloat);
    EXPECT_EQ(source->shape(name), read.sizes().vec());
    EXPECT_TRUE(same_bits(
        read, open_safetensors(golden_shard(shard.get<std::string>()))->read(name, at::kFloat)));
    bytes += static_cast<int64_t>(read.nbytes());
  }
  EXPECT_EQ(bytes, json::parse(read_text(golden_shard(kIndex)))["metadata"]["total_size"]);
  EXPECT_EQ(source->origin(), golden_shard(kIndex).string());
}

class ShardedHostile : public ::testing::Test {
 protected:
  ShardedHostile() {
    for (const char* name :
         {"model-00001-of-00002.safetensors", kIndex, "model-00002-of-00002.safetensors"}) {
      std::filesystem::copy(golden_shard(name), folder_ / name);
    }
    index_ = json::parse(read_text(golden_shard(kIndex)));
  }
  std::string error_of(const std::string& text) const {
    write_text(folder_ / kIndex, text);
    return format_error([&] { open_sharded_safetensors(folder_ / kIndex); });
  }
  std::string error_with(const json& shard) const {
    json changed = index_;
    changed["weight_map"]["model.norm.weight"] = shard;
    return error_of(changed.dump());
  }
  ScratchFolder folder_;
  json index_;
};

TEST_F(ShardedHostile, EveryPrefixOfTheIndexIsRefused) {
  const std::string whole = index_.dump();
  EXPECT_EQ(error_of(whole), "");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(error_of(whole.substr(0, size)), HasSubstr(kIndex)) << size;
  }
}

TEST_F(ShardedHostile, ShardsOutsideOfTheFolder) {
  std::filesystem::copy(golden_shard("model-00001-of-00002.safetensors"),
                        folder_.path().parent_path() / "leash-outside.safetensors",
                        std::filesystem::copy_options::overwrite_existing);
  for (const char* name : {"../leash-outside.safetensors", "..", ".", "", "/etc/passwd", "a/b",
                           "./model-00001-of-00002.safetensors", "..\\x"}) {
    EXPECT_THAT(error_with(name), HasSubstr("'model.norm.weight'")) << name;
    EXPECT_THAT(error_with(name), HasSubstr("no plain file name")) << name;
  }
  EXPECT_THAT(error_with(std::string("model-00002-of-00002.safetensors\0x", 34)),
              HasSubstr("no plain file name"));
  for (const json& name : {json(3), json(nullptr), json::array(), json::object(), json(true)}) {
    EXPECT_THAT(error_with(name), HasSubstr("no plain file name")) << name;
  }
  std::filesystem::remove(folder_.path().parent_path() / "leash-outside.safetensors");
}

TEST_F(ShardedHostile, MissingShardsAndTensors) {
  EXPECT_THAT(error_with("model-00003-of-00002.safetensors"),
              HasSubstr("model-00003-of-00002.safetensors: no such file"));
  EXPECT_THAT(error_with("model-00001-of-00002.safetensors"),
              HasSubstr("'model.norm.weight' is not in model-00001-of-00002.safetensors"));
  EXPECT_THAT(error_with(std::string(5000, 'x')), HasSubstr("cannot open"));
  json more = index_;
  more["weight_map"]["model.extra"] = "model-00001-of-00002.safetensors";
  EXPECT_THAT(error_of(more.dump()), HasSubstr("'model.extra'"));
  const std::string shard = "model-00002-of-00002.safetensors";
  write_text(folder_ / shard, read_text(folder_ / shard).substr(0, 3000));
  EXPECT_THAT(error_of(index_.dump()), HasSubstr(shard));
}

TEST_F(ShardedHostile, IndexesOfAnotherShape) {
  for (const char* text : {"[]", "3", "null", "{}", R"({"weight_map": []})",
                           R"({"weight_map": null})", R"({"weight_map": "x"})"}) {
    EXPECT_THAT(error_of(text), HasSubstr("has no 'weight_map'")) << text;
  }
  EXPECT_THAT(error_of(R"({"weight_map": {"a": "x", "a": "y"}})"), HasSubstr("twice"));
  EXPECT_EQ(error_of(R"({"weight_map": {}})"), "");
  const auto source = open_sharded_safetensors(folder_ / kIndex);
  EXPECT_THAT(format_error([&] { source->read("w", at::kFloat); }), HasSubstr("no tensor 'w'"));
}

// transformers would read it, and so what it changes would be missing here.
// As transformers: a shard is loaded whole. Whether anybody reads such a tensor is asked elsewhere.
TEST(ShardedSafetensors, WhatTheIndexDoesNotListIsThereToo) {
  const ScratchFolder folder;
  write_safetensors(folder / "a.safetensors", {{"one", at::ones({1})}, {"two", at::ones({1})}});
  write_text(folder / "index.json", R"({"weight_map": {"one": "a.safetensors"}})");
  const auto source = open_sharded_safetensors(folder / "index.json");
  EXPECT_THAT(source->names(), ::testing::ElementsAre("one", "two"));
  EXPECT_TRUE(source->contains("two"));
}

}  // namespace
}  // namespace leash::testing
