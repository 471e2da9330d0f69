#include "rl/run/run_files.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <string_view>
#include <vector>

#include "models/errors.h"
#include "models/printable.h"
#include "rl/run/tensorboard_writer.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFiles[] = {".lock",
                                       "metrics.jsonl",
                                       "samples.jsonl",
                                       "report.html",
                                       "resolved.yaml",
                                       "profile.json",
                                       "reference_logprobs.safetensors"};
constexpr std::string_view kFolders[] = {"adapter", "critic", "evaluations", "export", "snapshots"};

bool is_file_of_run(const std::string& name) {
  return std::ranges::find(kFiles, name) != std::end(kFiles) || name.starts_with(kEventsPrefix) ||
         std::regex_match(name, std::regex(R"(timeline(-rank-\d+)?\.json|reward-[\w-]+\.log)"));
}

bool is_folder_of_run(const std::string& name) {
  return std::ranges::find(kFolders, name) != std::end(kFolders);
}

std::vector<fs::directory_entry> entries_of(const fs::path& folder) {
  if (!fs::is_directory(fs::symlink_status(folder))) return {};
  return {fs::directory_iterator(folder), fs::directory_iterator()};
}

std::string beginning_of(const fs::path& file) {
  if (!fs::is_regular_file(fs::symlink_status(file))) return "";
  std::ifstream stream(file, std::ios::binary);
  std::string text(64, '\0');
  stream.read(text.data(), std::ssize(text));
  text.resize(static_cast<size_t>(stream.gcount()));
  return text;
}

bool holds_run(const fs::path& folder) {
  if (std::regex_match(beginning_of(folder / ".lock"), std::regex(R"(\d+ leash\n)"))) return true;
  if (beginning_of(folder / "resolved.yaml").starts_with("task: ")) return true;
  return std::ranges::any_of(entries_of(folder / "snapshots"), [](const fs::directory_entry& each) {
    return each.path().filename().string().find("step-") != std::string::npos &&
           fs::is_regular_file(fs::symlink_status(each.path() / "MANIFEST.json"));
  });
}

// Every line begins so, and a torn first line with a part of it.
bool holds_records(const fs::path& file) {
  constexpr std::string_view kBegin = "{\"step\":";
  const std::string text = beginning_of(file);
  return text.starts_with(kBegin) || kBegin.starts_with(text);
}

void require_no_link(const fs::directory_entry& entry) {
  if (!entry.is_symlink()) return;
  throw ConfigError(
      fmt::format("{} is a symbolic link: a run follows none in its folder; move it away, or "
                  "choose another folder by --run-dir",
                  entry.path().string()));
}

void require_kind(const fs::directory_entry& entry, fs::file_type kind, const char* what) {
  require_no_link(entry);
  if (entry.symlink_status().type() == kind) return;
  throw ConfigError(fmt::format("{} is not a {}: choose another folder by --run-dir",
                                entry.path().string(), what));
}

}  // namespace

std::string lock_text() { return fmt::format("{} leash\n", ::getpid()); }

void require_run_folder(const fs::path& folder) {
  std::string foreign;
  if (!fs::is_directory(folder)) return;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != ".lock" && name != "lost+found" && foreign.empty()) foreign = name;
    if (is_file_of_run(name)) require_kind(entry, fs::file_type::regular, "plain file");
    if (!is_folder_of_run(name)) continue;
    require_kind(entry, fs::file_type::directory, "folder");
    for (const fs::directory_entry& inner : entries_of(entry.path())) require_no_link(inner);
  }
  if (!foreign.empty() && !holds_run(folder)) {
    throw ConfigError(fmt::format(
        "{} holds files ({}), but no run of leash: choose a new or an empty folder by --run-dir",
        folder.string(), printable(foreign)));
  }
  for (const char* name : {"metrics.jsonl", "samples.jsonl"}) {
    if (holds_records(folder / name)) continue;
    throw ConfigError(fmt::format(
        "{} was not written by a run of leash: move it away, or choose another folder by --run-dir",
        (folder / name).string()));
  }
}

void remove_unfinished_files(const fs::path& folder) {
  const std::regex unfinished(R"((.+)\.(\d+-\d+\.tmp|tmp-\d+))");
  const std::regex own(
      R"(resolved\.yaml|report\.html|profile\.json|reference_logprobs\.safetensors)");
  const std::regex evaluation(R"(step-\d+\.json)");
  const std::regex adapter(R"([a-z_]+\.(json|safetensors))");
  for (const auto& [place, names] : {std::pair{folder, own},
                                     {folder / "evaluations", evaluation},
                                     {folder / "adapter", adapter},
                                     {folder / "critic", adapter}}) {
    for (const fs::directory_entry& entry : entries_of(place)) {
      const std::string name = entry.path().filename().string();
      std::smatch parts;
      if (!std::regex_match(name, parts, unfinished)) continue;
      if (std::regex_match(parts.str(1), names) &&
          entry.symlink_status().type() == fs::file_type::regular)
        fs::remove(entry.path());
    }
  }
}

}  // namespace leash
