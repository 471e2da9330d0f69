// config.json, generation_config.json and safetensors of one folder.
#include "models/io/hf_checkpoint.h"

#include <system_error>

#include "models/errors.h"
#include "models/families/families.h"
#include "models/io/json_file.h"
#include "models/io/safetensors.h"

namespace leash {

namespace {

// A file that cannot be looked at counts as missing.
bool is_there(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::exists(file, error);
}

std::shared_ptr<const TensorSource> open_weights(const std::filesystem::path& folder) {
  // The order in which transformers looks.
  const auto single = folder / "model.safetensors";
  if (is_there(single)) return open_safetensors(single);
  const auto index = folder / "model.safetensors.index.json";
  if (is_there(index)) return open_sharded_safetensors(index);
  std::string message =
      folder.string() + ": holds neither model.safetensors nor model.safetensors.index.json";
  if (is_there(folder / "adapter_config.json")) {
    message += " (it is an adapter: give its base model, and the adapter as such)";
  } else if (is_there(folder / "pytorch_model.bin") ||
             is_there(folder / "pytorch_model.bin.index.json")) {
    message += " (pickled weights are not read: save the model again as safetensors)";
  }
  throw FormatError(message);
}

}  // namespace

Checkpoint open_hf_checkpoint(const std::filesystem::path& folder) {
  Checkpoint checkpoint;
  checkpoint.path = folder;
  const auto config = folder / "config.json";
  if (!is_there(config)) {
    throw FormatError(folder.string() + ": holds no config.json, so it is no model folder");
  }
  checkpoint.config = config_from_json(read_json_file(config), config.string());
  const auto generation = folder / "generation_config.json";
  if (is_there(generation)) {
    apply_generation_config(read_json_file(generation), generation.string(), checkpoint.config);
  }
  checkpoint.tensors = open_weights(folder);
  return checkpoint;
}

}  // namespace leash
