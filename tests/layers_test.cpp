// models <- rollout <- rl <- configs <- experiments: no include may point the other way, and
// nothing includes all of torch.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace {

const std::vector<std::string> kLayers = {"models", "rollout", "rl", "configs", "experiments"};

std::vector<std::string> offences(const std::filesystem::path& root, size_t layer) {
  static const std::regex include(R"re(^\s*#include ["<]([^">]+)[">])re");
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / kLayers[layer])) {
    const auto extension = entry.path().extension();
    if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
    std::ifstream file(entry.path());
    std::smatch match;
    for (std::string line; std::getline(file, line);) {
      if (!std::regex_search(line, match, include)) continue;
      const std::string target = match[1];
      const bool heavy =
          target == "torch/torch.h" || target == "ATen/ATen.h" || target == "torch/all.h";
      bool upward = target.starts_with("tests/");
      for (size_t above = layer + 1; above < kLayers.size(); ++above) {
        upward = upward || target.starts_with(kLayers[above] + "/");
      }
      if (heavy || upward) found.push_back(entry.path().string() + ": " + line);
    }
  }
  return found;
}

TEST(Layers, IncludesPointOneWay) {
  for (size_t layer = 0; layer < kLayers.size(); ++layer) {
    for (const std::string& offence : offences(LEASH_SOURCE_DIR, layer)) ADD_FAILURE() << offence;
  }
}

TEST(Layers, AnUpwardIncludeWouldBeSeen) {
  const auto root = std::filesystem::temp_directory_path() / "leash-layers-test";
  std::filesystem::create_directories(root / "rollout");
  std::ofstream(root / "rollout" / "bad.h") << "#include \"rl/kl.h\"\n#include <torch/torch.h>\n";
  EXPECT_EQ(offences(root, 1).size(), 2u);
  std::filesystem::remove_all(root);
}

}  // namespace
