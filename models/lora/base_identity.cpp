// The fingerprint in an adapter's file against that of the base in use.
#include "models/lora/base_identity.h"

#include <fmt/format.h>

#include <atomic>
#include <cctype>
#include <nlohmann/json.hpp>
#include <system_error>

#include "models/errors.h"
#include "models/io/hub_cache.h"
#include "models/io/json_file.h"
#include "models/io/safetensors.h"
#include "models/notices.h"
#include "models/printable.h"

namespace leash {
namespace {

constexpr const char* kKey = "leash.base_fingerprint";

std::atomic<bool> waived = false;

// "smollm2-135m-instruct" of "HuggingFaceTB/SmolLM2-135M-Instruct/" and of a GGUF that was made of
// it; empty where there is no name.
std::string bare_name(std::string name) {
  while (!name.empty() && name.back() == '/') name.pop_back();
  name.erase(0, name.rfind('/') + 1);  // npos + 1 is 0
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

// A GGUF's name goes on with its quantisation ("….q4_1"), a folder's may be cut.
bool may_be_the_same(const std::string& a, const std::string& b) {
  return a.starts_with(b) || b.starts_with(a);
}

void compare_names(const std::filesystem::path& folder, const BaseIdentity& base) {
  const auto file = folder / "adapter_config.json";
  std::error_code error;  // loading it says what is missing
  if (!std::filesystem::exists(file, error)) return;
  const nlohmann::json config = read_json_file(file);
  if (!config.is_object()) return;
  const auto named = config.find("base_model_name_or_path");
  if (named == config.end() || !named->is_string()) return;
  const std::string theirs = bare_name(*named),
                    ours = bare_name(hub_repository(base.path).value_or(base.path));
  if (may_be_the_same(theirs, ours)) return;
  notice_once(
      fmt::format("warning: {}: says that its base is '{}', and {} is in use; an adapter of "
                  "another base of the same shapes computes nonsense without a word",
                  folder.string(), printable(named->get<std::string>(), 200), base.path));
}

}  // namespace

std::map<std::string, std::string> base_metadata(const BaseIdentity& base) {
  if (base.fingerprint.empty()) return {};
  return {{kKey, base.fingerprint}};
}

void waive_base_check(bool value) { waived = value; }

void require_same_base(const std::filesystem::path& folder, const BaseIdentity& base) {
  const auto file = folder / "adapter_model.safetensors";
  std::error_code error;  // loading it says what is missing
  if (waived || base.fingerprint.empty() || !std::filesystem::exists(file, error)) return;
  const auto metadata = read_safetensors_metadata(file);
  const auto found = metadata.find(kKey);
  if (found == metadata.end()) return compare_names(folder, base);
  if (found->second == base.fingerprint) return;
  throw FormatError(fmt::format(
      "{}: the adapter was trained on another base than {} (fingerprint {}, not {}): shapes fit, "
      "but what it computes there is nobody's; give its own base, or --allow-other-base",
      folder.string(), base.path, printable(found->second), base.fingerprint));
}

}  // namespace leash
