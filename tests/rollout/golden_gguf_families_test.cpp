// GGUFs that llama.cpp's converter wrote of every architecture: our log-probs are transformers' of
// the checkpoint that was converted (tests/golden/make_gguf_families.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/io/gguf_architecture.h"
#include "rollout/scoring.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

std::filesystem::path family_file(const std::string& name) {
  return repository("tests/golden/gguf_families") / name;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(family_file(""))) {
    if (entry.path().extension() == ".gguf") names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

class GoldenGgufFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenGgufFamily, LogProbsAreThoseOfTheCheckpoint) {
  const auto golden = nlohmann::json::parse(read_text(family_file(GetParam() + ".json")));
  const auto decoder = Decoder::load(open_checkpoint(family_file(GetParam() + ".gguf")));
  std::vector<ScoredText> texts;
  for (const auto& ids : golden["ids"]) texts.push_back({.ids = ids.get<std::vector<int64_t>>()});
  const auto scores = score_texts(*decoder, nullptr, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto wanted = golden["logprobs"][i].get<std::vector<double>>();
    ASSERT_EQ(scores[i].logprobs.size(), wanted.size());
    for (size_t j = 0; j < wanted.size(); ++j) {
      EXPECT_NEAR(scores[i].logprobs[j], wanted[j], 1.6e-5) << i << " " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenGgufFamily, ::testing::ValuesIn(family_names()),
                         [](const auto& info) { return info.param; });

TEST(GoldenGgufFamilies, CoverEveryArchitecture) {
  std::vector<std::string> covered;
  for (const std::string& name : family_names()) {
    covered.push_back(open_checkpoint(family_file(name + ".gguf")).config.family);
  }
  for (const GgufArchitecture& row : gguf_architectures()) {
    EXPECT_THAT(covered, ::testing::Contains(std::string(row.model_type)));
  }
}

}  // namespace
}  // namespace leash::testing
