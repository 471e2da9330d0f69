// config.json, generation_config.json and safetensors of one folder.
#include "models/io/hf_checkpoint.h"

#include <ATen/ops/equal.h>
#include <fmt/format.h>

#include "models/errors.h"
#include "models/families/decoder_modules.h"
#include "models/families/families.h"
#include "models/io/arranged_tensors.h"
#include "models/io/hub_cache.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"
#include "models/io/safetensors.h"
#include "models/notices.h"

namespace leash {

namespace {

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
  } else if (const auto name = hub_repository(folder)) {
    message +=
        " (its download is not complete: `" + parse_hub_name(*name)->download_command() + "`)";
  }
  throw FormatError(message);
}

// A file may have a head of its own although the configuration ties it to the embedding: what was
// trained is in the file. A head that repeats the embedding stays tied.
void untie_if_different(Checkpoint& checkpoint) {
  const std::vector<ModuleInfo> modules = decoder_modules(checkpoint.config);
  const std::string head = modules.back().path + ".weight";
  const std::string embedding = modules.front().path + ".weight";
  const TensorSource& tensors = *checkpoint.tensors;
  if (!checkpoint.config.tie_word_embeddings || !tensors.contains(head)) return;
  if (!tensors.contains(embedding)) return;  // loading it says what is missing
  if (at::equal(tensors.read(head, at::kFloat), tensors.read(embedding, at::kFloat))) return;
  checkpoint.config.tie_word_embeddings = false;
  notice_once(
      fmt::format("{}: tie_word_embeddings is true, but {} is not the embedding: it is used",
                  checkpoint.path.string(), head));
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
  checkpoint.tensors = arranged(open_weights(folder), checkpoint.config);
  untie_if_different(checkpoint);
  return checkpoint;
}

}  // namespace leash
