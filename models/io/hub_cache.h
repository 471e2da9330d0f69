// Hugging Face's local cache, where `hf download` and transformers keep checkpoints
// (huggingface_hub, "Manage your cache"): models--org--name/refs/REVISION holds a commit,
// models--org--name/snapshots/COMMIT the files.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace leash {

// "org/name", or "org/name@revision" (a branch, a tag or a commit).
struct HubName {
  std::string repository;  // "org/name"
  std::string revision;    // empty: main

  // The command that puts it into the cache.
  std::string download_command() const;
};
// nullopt where the text cannot be a repository's name.
std::optional<HubName> parse_hub_name(std::string_view text);

// HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub (XDG_CACHE_HOME in place of
// ~/.cache); nullopt where none of these is set.
std::optional<std::filesystem::path> hub_cache_folder();

// The folder of the snapshot; nullopt where the cache does not have the repository. FormatError
// where it has the repository and not this revision, saying which it has.
std::optional<std::filesystem::path> find_in_hub_cache(const HubName& name);

// "org/name" of a path inside a cache's snapshot; nullopt for every other path.
std::optional<std::string> hub_repository(const std::filesystem::path& path);

}  // namespace leash
