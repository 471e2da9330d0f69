#include "models/io/hub_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>
#include <vector>

#include "models/errors.h"
#include "models/printable.h"

namespace leash {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPart = 96;     // the hub's own limit
constexpr size_t kMaxCommit = 128;  // a commit has 40
constexpr const char* kMain = "main";
constexpr std::string_view kLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

// huggingface_hub's validate_repo_id.
bool is_part(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPart && part.front() != '.' && part.front() != '-' &&
         part.back() != '.' && part.back() != '-' && part.find("--") == part.npos &&
         part.find("..") == part.npos && !part.ends_with(".git") &&
         part.find_first_not_of(kLetters) == part.npos;
}

// A branch may have slashes ("refs/pr/1"); nothing may lead out of the folder.
bool is_revision(std::string_view text) {
  return !text.empty() && text.size() <= kMaxCommit && text.front() != '/' &&
         text.find("..") == text.npos &&
         text.find_first_not_of(std::string(kLetters) + "/+") == text.npos;
}

bool is_commit(std::string_view text) {
  return is_revision(text) && text.find('/') == text.npos && text != ".";
}

std::optional<fs::path> folder_from(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  const std::string text = value;
  const char* home = std::getenv("HOME");
  if (text.starts_with("~/") && home != nullptr) return fs::path(home) / text.substr(2);
  return text;
}

bool is_folder(const fs::path& path) {
  std::error_code error;  // what cannot be looked at is none
  return fs::is_directory(path, error);
}

std::string read_commit(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text(kMaxCommit + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(stream.gcount()));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (!is_commit(text)) throw FormatError(file.string() + ": holds no commit");
  return text;
}

std::vector<std::string> snapshots_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_folder(entry->path())) names.push_back(printable(entry->path().filename().string()));
  }
  std::ranges::sort(names);
  return names;
}

fs::path cached_snapshot(const fs::path& folder, const HubName& name) {
  const std::string revision = name.revision.empty() ? kMain : name.revision;
  const fs::path reference = folder / "refs" / revision;
  std::error_code error;
  std::string commit = revision;
  if (fs::is_regular_file(reference, error)) commit = read_commit(reference);
  if (is_commit(commit) && is_folder(folder / "snapshots" / commit)) {
    return folder / "snapshots" / commit;
  }
  throw FormatError(fmt::format(
      "{}: Hugging Face's cache ({}) has it, but not its revision {}: `{}` fetches it; there are "
      "[{}], to be named as {}@…",
      name.repository, folder.string(), revision, name.download_command(),
      fmt::join(snapshots_in(folder / "snapshots"), ", "), name.repository));
}

}  // namespace

std::string HubName::download_command() const {
  return "hf download " + repository + (revision.empty() ? "" : " --revision " + revision);
}

std::optional<HubName> parse_hub_name(std::string_view text) {
  HubName name;
  if (const auto at = text.find('@'); at != text.npos) {
    name.revision = text.substr(at + 1);
    if (!is_revision(name.revision)) return std::nullopt;
    text = text.substr(0, at);
  }
  const auto slash = text.find('/');
  if (slash == text.npos || !is_part(text.substr(0, slash)) || !is_part(text.substr(slash + 1))) {
    return std::nullopt;
  }
  name.repository = text;
  return name;
}

std::optional<fs::path> hub_cache_folder() {
  // HUGGINGFACE_HUB_CACHE is the older name of the first.
  for (const char* variable : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const auto folder = folder_from(variable)) return folder;
  }
  if (const auto home = folder_from("HF_HOME")) return *home / "hub";
  if (const auto cache = folder_from("XDG_CACHE_HOME")) return *cache / "huggingface/hub";
  if (const auto home = folder_from("HOME")) return *home / ".cache/huggingface/hub";
  return std::nullopt;
}

std::optional<fs::path> find_in_hub_cache(const HubName& name) {
  const auto cache = hub_cache_folder();
  if (!cache) return std::nullopt;
  const auto slash = name.repository.find('/');
  const fs::path folder = *cache / ("models--" + name.repository.substr(0, slash) + "--" +
                                    name.repository.substr(slash + 1));
  // A download that failed may have left the folder alone.
  if (!is_folder(folder / "snapshots")) return std::nullopt;
  return cached_snapshot(folder, name);
}

std::optional<std::string> hub_repository(const fs::path& path) {
  constexpr std::string_view kPrefix = "models--";
  const std::vector<fs::path> parts(path.begin(), path.end());
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const std::string part = parts[i].string();
    if (!part.starts_with(kPrefix) || parts[i + 1] != "snapshots") continue;
    const std::string rest = part.substr(kPrefix.size());
    const auto dashes = rest.find("--");
    if (dashes == rest.npos) continue;
    const std::string name = rest.substr(0, dashes) + "/" + rest.substr(dashes + 2);
    if (parse_hub_name(name)) return name;
  }
  return std::nullopt;
}

}  // namespace leash
