// PEFT's adapter folder: adapter_config.json and adapter_model.safetensors, exactly as PEFT writes
// and reads them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/lora/lora.h"

namespace leash {

// What PEFT's target_modules says where no module has an update (its DUMMY_TARGET_MODULES); an
// empty list here.
inline constexpr const char* kNoTargets = "dummy-target-modules";

// Reads a folder for a decoder with these modules, as trainable fp32 whatever type the file has.
// FormatError when a file is missing or damaged, when it belongs to another model (shapes or paths
// do not fit), or when adapter_config.json asks for something that changes the computation and is
// not supported (use_dora, lora_bias, layer_replication, …).
Adapter load_adapter(const std::filesystem::path& folder, const std::vector<ModuleInfo>& modules);

// The configuration alone, from the folder or from the text of an adapter_config.json.
LoraConfig read_adapter_config(const std::filesystem::path& folder);
LoraConfig parse_adapter_config(const std::string& text, const std::string& origin);

// Writes the folder (created when missing). `base_model` becomes base_model_name_or_path,
// `metadata` (base_metadata in models/lora/base_identity.h, how a reward adapter's texts end)
// stands beside the format in the safetensors' __metadata__, which PEFT passes over.
void save_adapter(const std::filesystem::path& folder, const Adapter& adapter,
                  const std::string& base_model,
                  const std::map<std::string, std::string>& metadata = {});
// The text of adapter_config.json, byte for byte as PEFT would write it.
std::string adapter_config_text(const Adapter& adapter, const std::string& base_model);

}  // namespace leash
