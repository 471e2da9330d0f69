#include "experiments/cli/load_model.h"

#include <fmt/format.h>

#include <iostream>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/options.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/limits.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "models/quant/byte_tiles.h"
#include "rl/run/devices_config.h"
#include "rollout/stopping.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

std::string required_model(const po::variables_map& values) {
  const auto model = given<std::string>(values, "model");
  if (!model || model->empty()) {
    throw ConfigError(
        "--model is missing: a GGUF file, a Hugging Face folder, org/name, or smollm2 (--model "
        "smollm2)");
  }
  return *model;
}

// Whether --fast is given and this machine has something to gain from it.
bool wants_fast(const po::variables_map& values, Quantize quantize, at::Device device) {
  if (values.count("fast") == 0 || !values["fast"].as<bool>()) return false;
  if (quantize != Quantize::none) {
    throw ConfigError("--fast keeps weights in its own way: leave --quantize out");
  }
  if (!device.is_cpu()) throw ConfigError("--fast is for CPUs");
  if (!has_byte_product()) {
    std::cerr << "--fast changes nothing: this CPU has no AVX-512 VNNI\n";
    return false;
  }
  return true;
}

void set_threads(const po::variables_map& values) {
  const auto threads = given<int64_t>(values, "threads");
  if (!threads) return;
  if (*threads < 1 || *threads > kMostThreads) {
    throw ConfigError(fmt::format("--threads must be 1 to {}, not {}", kMostThreads, *threads));
  }
  leash::set_threads(*threads);
}

}  // namespace

void add_model_options(po::options_description& options) {
  options.add_options()("model", po::value<std::string>()->value_name("MODEL"),
                        "a GGUF file, a Hugging Face folder, org/name in its cache, or smollm2");
  options.add_options()(
      "dtype", po::value<std::string>()->value_name("TYPE")->default_value("auto"),
      "auto (float32 on a CPU, bfloat16 on a GPU), float32, bfloat16, float16 or float64");
  options.add_options()(
      "quantize", po::value<std::string>()->value_name("HOW")->default_value("none"),
      "frozen weights in memory: none (dense), keep (a GGUF's blocks), nf4, int8");
  options.add_options()("device",
                        po::value<std::string>()->value_name("DEVICE")->default_value("cpu"),
                        "where the model is: cpu, cuda, or cuda:1 for the second GPU");
  options.add_options()("threads", po::value<int64_t>()->value_name("N"),
                        "threads of one operation (default: all cores)");
}

void add_fast_option(po::options_description& options) {
  options.add_options()("fast", po::bool_switch(),
                        "weights and activations in 8 bits: faster, answers may differ");
}

void add_adapter_option(po::options_description& options) {
  options.add_options()("adapter", po::value<std::string>()->value_name("DIR"),
                        "a LoRA adapter in PEFT's format");
  add_other_base_option(options);
}

void add_other_base_option(po::options_description& options) {
  options.add_options()("allow-other-base", po::bool_switch()->notifier(waive_base_check),
                        "take adapters that were trained on another base");
}

std::vector<int64_t> LoadedModel::eos_token_ids() const {
  return leash::eos_token_ids(config(), tokenizer);
}

DtypeChoice parse_dtype(const std::string& name) {
  for (const auto& [choice, known] : EnumNames<DtypeChoice>::values) {
    if (known == name) return choice;
  }
  const auto reason = enum_refusal<DtypeChoice>(name);
  throw ConfigError(
      fmt::format("--dtype must be auto, float32, bfloat16, float16 or float64, not `{}`{}{}", name,
                  reason ? ": " : "", reason.value_or("")));
}

Quantize parse_quantize(const std::string& name) {
  for (const auto& [choice, known] : EnumNames<Quantize>::values) {
    if (known == name) return choice;
  }
  throw ConfigError(fmt::format("--quantize must be none, keep, nf4 or int8, not `{}`", name));
}

Checkpoint load_checkpoint(const po::variables_map& values) {
  const std::string model = required_model(values);
  set_threads(values);
  return open_checkpoint(resolve_model(model));
}

LoadedModel load_model(const po::variables_map& values) {
  const std::string model = required_model(values);
  const at::Device device = usable_device(values["device"].as<std::string>(), "--device");
  const at::ScalarType dtype = scalar_type(parse_dtype(values["dtype"].as<std::string>()), device);
  const Quantize quantize = parse_quantize(values["quantize"].as<std::string>());
  const bool fast = wants_fast(values, quantize, device);
  set_threads(values);
  const Checkpoint checkpoint = open_checkpoint(resolve_model(model));
  return {checkpoint,
          Decoder::load(checkpoint,
                        {.dtype = dtype, .quantize = quantize, .fast = fast, .device = device}),
          load_chat_tokenizer(checkpoint.path, chat_config_of(values))};
}

Adapter load_frozen_adapter(const std::filesystem::path& folder, const LoadedModel& model) {
  require_same_base(folder, model.decoder->identity());
  Adapter adapter = load_adapter(folder, model.decoder->modules()).to(model.decoder->device());
  adapter.set_trainable(false);
  return adapter;
}

std::optional<Adapter> load_adapter_option(const po::variables_map& values,
                                           const LoadedModel& model) {
  const auto folder = given<std::string>(values, "adapter");
  if (!folder) return std::nullopt;
  return load_frozen_adapter(*folder, model);
}

Tokenizer load_tokenizer(const po::variables_map& values) {
  return load_chat_tokenizer(resolve_model(required_model(values)), chat_config_of(values));
}

}  // namespace leash::cli
