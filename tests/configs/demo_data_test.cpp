// The demo's prompts: enough, none twice, and none held out that is trained on.
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/files.h"

namespace leash::testing {
namespace {

// Prompts without their case, spaces and punctuation: what a person would call the same one.
std::multiset<std::string> prompts_of(const std::string& name) {
  std::ifstream file(repository("configs/recipes/data/everyday_prompts." + name + ".jsonl"));
  std::multiset<std::string> prompts;
  for (std::string line; std::getline(file, line);) {
    std::string letters;
    const auto prompt = nlohmann::json::parse(line);
    for (const auto& message : prompt.at("messages")) {
      for (const char c : message.at("content").get<std::string>()) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0)
          letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      }
    }
    EXPECT_GT(letters.size(), 10u) << line;
    prompts.insert(letters);
  }
  return prompts;
}

TEST(DemoData, PromptsAreEnoughDifferentAndDisjoint) {
  const auto train = prompts_of("train"), held_out = prompts_of("held_out");
  EXPECT_GE(train.size(), 200u);
  EXPECT_GE(held_out.size(), 50u);
  for (const std::string& prompt : train) EXPECT_EQ(train.count(prompt), 1u) << prompt;
  for (const std::string& prompt : held_out) {
    EXPECT_EQ(held_out.count(prompt), 1u) << prompt;
    EXPECT_EQ(train.count(prompt), 0u) << prompt;
  }
}

}  // namespace
}  // namespace leash::testing
