// Whether an adapter belongs to a base: shapes alone say little, since all models of one kind and
// size have the same.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace leash {

struct BaseIdentity {
  std::string path;         // of the checkpoint
  std::string fingerprint;  // base_fingerprint() in models/decoder/base_fingerprint.h
};

// What an adapter's file says about its base: entries of the safetensors' __metadata__, which PEFT
// passes over.
std::map<std::string, std::string> base_metadata(const BaseIdentity& base);

// FormatError where the adapter in this folder says that it was trained on another base. Where it
// says nothing (PEFT wrote it) base_model_name_or_path is compared, and a name that seems to be
// another's is said once. Nothing happens after waive_base_check(true).
void require_same_base(const std::filesystem::path& folder, const BaseIdentity& base);

// --allow-other-base, for the whole process.
void waive_base_check(bool waived);

}  // namespace leash
