// Reading adapter_config.json strictly: what is not understood must be at its default.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"
#include "models/lora/peft_adapter.h"
#include "models/printable.h"

namespace leash {
namespace {

using nlohmann::json;

// Keys that say nothing about the computation.
constexpr std::array<std::string_view, 8> kNeutralKeys = {
    "auto_mapping",      "base_model_name_or_path", "revision",     "inference_mode",
    "qalora_group_size", "megatron_core",           "peft_version", "runtime_config"};

// Keys that load_adapter understands.
constexpr std::array<std::string_view, 15> kKnownKeys = {
    "peft_type",     "task_type",         "r",
    "lora_alpha",    "lora_dropout",      "target_modules",
    "bias",          "use_rslora",        "exclude_modules",
    "rank_pattern",  "modules_to_save",   "layers_to_transform",
    "alpha_pattern", "init_lora_weights", "fan_in_fan_out"};

constexpr size_t kMaxPatterns = 10'000;  // each is tried on every module

bool is_default(const json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.is_null() || (value.is_structured() && value.empty());
}

// One adapter_config.json, asked key by key. Missing and null mean the default.
class ConfigReader {
 public:
  // `text` outlives the reader.
  ConfigReader(std::string_view text, std::string origin)
      : text_(text), origin_(std::move(origin)), root_(parse_json(text, origin_)) {
    if (!root_.is_object()) fail("it is not a JSON object");
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(fmt::format("{}: {}", origin_, what));
  }

  void refuse_unsupported() const {
    for (const auto& [key, value] : root_.items()) {
      if (std::ranges::find(kNeutralKeys, key) != kNeutralKeys.end() ||
          std::ranges::find(kKnownKeys, key) != kKnownKeys.end() || is_default(value)) {
        continue;
      }
      fail(
          fmt::format("{} = {} is not supported (it would change what the adapter computes); "
                      "merge the adapter with PEFT and load the merged model instead",
                      printable(key), shortened(value)));
    }
  }

  void read(const char* key, int64_t& out) const {
    if (const json* value = get(key)) out = integer(key, *value);
  }
  void read(const char* key, double& out) const {
    if (const json* value = get(key)) out = number(key, *value);
  }
  void read(const char* key, bool& out) const {
    const json* value = get(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) wrong(key, *value, "true or false");
    out = value->get<bool>();
  }
  void read(const char* key, std::vector<std::string>& out) const {
    if (const json* value = get(key)) out = strings(key, *value);
  }
  void read(const char* key, StringOrList& out) const {
    const json* value = get(key);
    if (value == nullptr) return;
    if (value->is_string()) {
      out = value->get<std::string>();
    } else {
      out = strings(key, *value);
    }
  }
  // PEFT takes one layer's number for a list of one.
  void read(const char* key, std::vector<int64_t>& out) const {
    const json* value = get(key);
    if (value == nullptr) return;
    if (!value->is_array()) {
      out = {integer(key, *value)};
      return;
    }
    out.clear();
    for (const json& entry : *value) out.push_back(integer(key, entry));
  }
  // In the order of the file, which decides where several keys fit a module.
  void read(const char* key, OrderedMap<int64_t>& out) const {
    const json entries = object(key);
    for (const std::string& name : order(key)) out.add(name, integer(key, entries.at(name)));
  }
  void read(const char* key, OrderedMap<double>& out) const {
    const json entries = object(key);
    for (const std::string& name : order(key)) out.add(name, number(key, entries.at(name)));
  }
  template <NamedEnum E>
  void read(const char* key, E& out) const {
    const json* value = get(key);
    if (value == nullptr) return;
    for (const auto& [known, name] : EnumNames<E>::values) {
      if (*value == name) {
        out = known;
        return;
      }
    }
    fail(fmt::format("{} = {} is not supported", key, shortened(*value)));
  }
  // true and false differ only in how a fresh adapter starts, which a loaded one does not.
  void read(const char* key, LoraInit& out) const {
    const json* value = get(key);
    if (value == nullptr || value->is_boolean()) return;
    if (*value != "gaussian") {
      fail(
          fmt::format("{} = {} is not supported (such an adapter may belong to changed base "
                      "weights); convert it to plain LoRA with PEFT first",
                      key, shortened(*value)));
    }
    out = LoraInit::gaussian;
  }

  const json* get(const char* key) const {
    const auto found = root_.find(key);
    return found == root_.end() || found->is_null() ? nullptr : &*found;
  }

 private:
  static std::string shortened(const json& value) {
    return printable(value.dump(-1, ' ', true, json::error_handler_t::replace));
  }
  [[noreturn]] void wrong(const char* key, const json& value, const char* wanted) const {
    fail(fmt::format("{} = {} should be {}", key, shortened(value), wanted));
  }
  int64_t integer(const char* key, const json& value) const {
    // Unsigned numbers past int64 would wrap.
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) {
      wrong(key, value, "a whole number");
    }
    return value.get<int64_t>();
  }
  double number(const char* key, const json& value) const {
    if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(key, value, "a number");
    return value.get<double>();
  }
  std::vector<std::string> strings(const char* key, const json& value) const {
    if (!value.is_array()) wrong(key, value, "a list of strings");
    std::vector<std::string> out;
    for (const json& entry : value) {
      if (!entry.is_string()) wrong(key, value, "a list of strings");
      out.push_back(entry.get<std::string>());
    }
    return out;
  }
  json object(const char* key) const {
    const json* value = get(key);
    if (value == nullptr) return json::object();
    if (!value->is_object()) wrong(key, *value, "a map");
    if (value->size() > kMaxPatterns) {
      fail(fmt::format("{} has {} entries, more than {}", key, value->size(), kMaxPatterns));
    }
    return *value;
  }
  std::vector<std::string> order(const char* key) const { return keys_in_order(text_, key); }

  std::string_view text_;
  std::string origin_;
  json root_;
};

void check_ranges(const LoraConfig& config, const ConfigReader& reader) {
  if (config.r < 1) reader.fail(fmt::format("r = {} is not a rank", config.r));
  if (!(config.lora_dropout >= 0 && config.lora_dropout < 1)) {
    reader.fail(fmt::format("lora_dropout = {} is not in [0, 1)", config.lora_dropout));
  }
  for (const auto& [key, r] : config.rank_pattern) {
    if (r < 1) reader.fail(fmt::format("rank_pattern: `{}` has rank {}", printable(key), r));
  }
}

LoraConfig read_config(const ConfigReader& reader) {
  const json* type = reader.get("peft_type");
  if (type == nullptr) reader.fail("peft_type is missing; this is no adapter of PEFT's");
  if (*type != "LORA") {
    reader.fail(
        fmt::format("peft_type = {} is not supported; only LORA is", printable(type->dump())));
  }
  if (reader.get("target_modules") == nullptr) reader.fail("target_modules is missing");
  reader.refuse_unsupported();
  LoraConfig config;
  reader.read("r", config.r);
  reader.read("lora_alpha", config.lora_alpha);
  reader.read("lora_dropout", config.lora_dropout);
  reader.read("target_modules", config.target_modules);
  if (config.target_modules == StringOrList(kNoTargets)) {
    config.target_modules = std::vector<std::string>{};
  }
  reader.read("exclude_modules", config.exclude_modules);
  reader.read("bias", config.bias);
  reader.read("task_type", config.task_type);
  reader.read("use_rslora", config.use_rslora);
  reader.read("modules_to_save", config.modules_to_save);
  reader.read("layers_to_transform", config.layers_to_transform);
  reader.read("rank_pattern", config.rank_pattern);
  reader.read("alpha_pattern", config.alpha_pattern);
  reader.read("init_lora_weights", config.init_lora_weights);
  reader.read("fan_in_fan_out", config.fan_in_fan_out);
  check_ranges(config, reader);
  return config;
}

}  // namespace

LoraConfig read_adapter_config(const std::filesystem::path& folder) {
  const auto file = folder / "adapter_config.json";
  std::error_code error;  // what cannot be looked at counts as missing
  if (!std::filesystem::is_regular_file(file, error)) {
    throw FormatError(
        fmt::format("{}: no such file; an adapter is a folder with adapter_config.json and "
                    "adapter_model.safetensors, as PEFT's save_pretrained writes it",
                    file.string()));
  }
  const auto mapped = MappedFile::open(file);
  const auto bytes = mapped->bytes();
  return read_config(
      ConfigReader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file.string()));
}

LoraConfig parse_adapter_config(const std::string& text, const std::string& origin) {
  return read_config(ConfigReader(text, origin));
}

}  // namespace leash
