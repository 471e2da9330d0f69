// The order of folders, at both levels: no include may point up, and nothing includes all of torch.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

// From the bottom up. Rooms in one row do not include each other.
using Rows = std::vector<std::vector<std::string>>;

const Rows kTop = {{"models"}, {"rollout"}, {"rl"}, {"configs"}, {"experiments"}};
// "models" itself: what lies in no room.
const Rows kModels = {{"models"},           {"models/families"},   {"models/device"},
                      {"models/random"},    {"models/kernels"},    {"models/weights"},
                      {"models/quant"},     {"models/io"},         {"models/attention"},
                      {"models/lora"},      {"models/vocabulary"}, {"models/decoder"},
                      {"models/text"},      {"models/subwords"},   {"models/jinja"},
                      {"models/tokenizer"}, {"models/export"}};
const Rows kRl = {{"rl/statistics"},
                  {"rl/optim"},
                  {"rl/distributed"},
                  {"rl/run"},
                  {"rl/data"},
                  {"rl/answers", "rl/judges"},
                  {"rl/reward"},
                  {"rl/training"},
                  {"rl/reference"},
                  {"rl/policy", "rl/preference"},
                  {"rl/classification", "rl/dpo", "rl/grpo", "rl/ppo", "rl/reinforce",
                   "rl/reward_model", "rl/rloo", "rl/sft"},
                  {"rl/plan", "rl/report"}};

// The row of the folder that a path lies in; -1 where it lies in none of them.
int64_t row_of(const Rows& rows, const std::string& folder) {
  for (size_t row = 0; row < rows.size(); ++row) {
    if (std::ranges::find(rows[row], folder) != rows[row].end()) return static_cast<int64_t>(row);
  }
  return -1;
}

std::string top_of(const std::string& path) { return path.substr(0, path.find('/')); }
std::string room_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

// What a line includes; empty where it includes nothing.
std::string included_by(std::string_view line) {
  constexpr std::string_view kInclude = "#include ";
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with(kInclude)) return "";
  line.remove_prefix(kInclude.size());
  if (line.empty() || (line[0] != '"' && line[0] != '<')) return "";
  return std::string(line.substr(1, line.find_first_of("\">", 1) - 1));
}

// Whether a file in `from` may include one in `to`, both folders of `rows` or of none.
bool points_up(const Rows& rows, const std::string& from, const std::string& to) {
  const int64_t above = row_of(rows, to);
  return above >= 0 && from != to && above >= row_of(rows, from);
}

bool offends(const std::string& file, const std::string& target) {
  if (target == "torch/torch.h" || target == "ATen/ATen.h" || target == "torch/all.h") return true;
  if (target.starts_with("tests/")) return true;
  if (row_of(kTop, top_of(target)) < 0) return false;
  if (points_up(kTop, top_of(file), top_of(target))) return true;
  if (top_of(file) != top_of(target)) return false;
  const Rows& rows = top_of(file) == "models" ? kModels : kRl;
  return (top_of(file) == "models" || top_of(file) == "rl") &&
         points_up(rows, room_of(file), room_of(target));
}

std::vector<std::string> offences(const std::filesystem::path& root, const std::string& top) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / top)) {
    const auto extension = entry.path().extension();
    if (extension != ".h" && extension != ".cpp" && extension != ".cu") continue;
    const std::string path = entry.path().lexically_relative(root).string();
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      if (offends(path, included_by(line))) found.push_back(path + ": " + line);
    }
  }
  return found;
}

TEST(Layers, IncludesPointOneWay) {
  for (const auto& row : kTop) {
    for (const std::string& offence : offences(LEASH_SOURCE_DIR, row[0])) ADD_FAILURE() << offence;
  }
}

TEST(Layers, EveryRoomHasAPlace) {
  for (const auto& [top, rows] : std::map<std::string, Rows>{{"models", kModels}, {"rl", kRl}}) {
    const std::filesystem::path root = LEASH_SOURCE_DIR;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / top)) {
      if (!entry.is_regular_file()) continue;
      const std::string path = entry.path().lexically_relative(root).string();
      EXPECT_GE(row_of(rows, room_of(path)), 0) << path << ": add its folder to the order";
    }
  }
}

// The type that a line at the left edge defines; empty where it defines none.
std::string defined_by(const std::string& line) {
  for (const std::string_view kind : {"struct ", "class ", "enum class "}) {
    if (!line.starts_with(kind) || !line.ends_with('{')) continue;
    const size_t end = line.find_first_of(" :<{", kind.size());
    // A specialisation is no type of its own.
    return line[end] == '<' ? "" : line.substr(kind.size(), end - kind.size());
  }
  return "";
}

// One namespace for all: two types of one name link, and their functions are mixed up.
std::vector<std::string> defined_twice(const std::filesystem::path& root) {
  std::map<std::string, std::string> first;
  std::vector<std::string> found;
  for (const auto& row : kTop) {
    if (!std::filesystem::exists(root / row[0])) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / row[0])) {
      if (entry.path().extension() != ".h") continue;
      const std::string path = entry.path().lexically_relative(root).string();
      std::ifstream file(entry.path());
      std::string space;
      for (std::string line; std::getline(file, line);) {
        if (line.starts_with("namespace ")) space = line;
        const std::string type = defined_by(line);
        if (type.empty()) continue;
        const auto [place, is_new] = first.emplace(space + type, path);
        if (!is_new) found.push_back(type + ": " + place->second + " and " + path);
      }
    }
  }
  return found;
}

TEST(Layers, NoTypeIsDefinedTwice) {
  for (const std::string& both : defined_twice(LEASH_SOURCE_DIR)) ADD_FAILURE() << both;
}

TEST(Layers, AnIncludeThatPointsUpWouldBeSeen) {
  const auto root = std::filesystem::temp_directory_path() / "leash-layers-test";
  const auto write = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  write("rollout/bad.h", "#include \"rl/policy/kl.h\"\n#include <torch/torch.h>\n");
  write("rl/sft/bad.h", "#include \"rl/ppo/config.h\"\n#include \"rl/report/html.h\"\n");
  write("rl/sft/good.h", "#include \"rl/sft/config.h\"\n#include \"models/errors.h\"\n");
  write("models/fields.h", "#include \"models/lora/lora.h\"\n");
  EXPECT_EQ(offences(root, "rollout").size(), 2u);
  EXPECT_EQ(offences(root, "rl").size(), 2u);
  EXPECT_EQ(offences(root, "models").size(), 1u);
  write("models/a.h", "namespace leash {\nstruct Same {\n};\nstruct Same<int> {\n};\n}\n");
  write("rl/b.h", "namespace leash {\nclass Same final : public Other {\n};\n}\n");
  write("rl/c.h", "namespace leash::cuda {\nclass Same {\n};\n}\n");
  EXPECT_EQ(defined_twice(root).size(), 1u);
  std::filesystem::remove_all(root);
}

}  // namespace
