// models <- rollout <- rl <- configs <- experiments: no include may point the other way, and
// nothing includes all of torch.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

const std::vector<std::string> kLayers = {"models", "rollout", "rl", "configs", "experiments"};

// What a line includes; empty where it includes nothing.
std::string included_by(std::string_view line) {
  constexpr std::string_view kInclude = "#include ";
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with(kInclude)) return "";
  line.remove_prefix(kInclude.size());
  if (line.empty() || (line[0] != '"' && line[0] != '<')) return "";
  return std::string(line.substr(1, line.find_first_of("\">", 1) - 1));
}

std::vector<std::string> offences(const std::filesystem::path& root, size_t layer) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / kLayers[layer])) {
    const auto extension = entry.path().extension();
    if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      const std::string target = included_by(line);
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
  std::ofstream(root / "rollout" / "bad.h")
      << "#include \"rl/policy/kl.h\"\n#include <torch/torch.h>\n";
  EXPECT_EQ(offences(root, 1).size(), 2u);
  std::filesystem::remove_all(root);
}

}  // namespace
