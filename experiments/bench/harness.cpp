#include "experiments/bench/harness.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "models/device/device.h"
#include "models/io/checkpoint.h"
#include "models/random/random.h"
#include "rl/run/devices_config.h"
#include "rl/run/memory_usage.h"

#ifdef LEASH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace leash::bench {
namespace {

std::string machine([[maybe_unused]] const Options& options) {
#ifdef LEASH_CUDA
  if (options.device != "cpu") {
    return at::cuda::getDeviceProperties(usable_device(options.device, "--device").index())->name;
  }
#endif
  std::ifstream cpus("/proc/cpuinfo");
  for (std::string line; std::getline(cpus, line);) {
    if (!line.starts_with("model name")) continue;
    std::string name = line.substr(line.find(':') + 2);
    std::ranges::replace(name, ',', ' ');
    return name;
  }
  return "unknown";
}

// "fp32", or how the weights are kept: "nf4 SmolLM2", "keep SmolLM2.Q8_0", "fast SmolLM2.Q8_0".
std::string weights_name(const Options& options) {
  const std::string file = std::filesystem::path(options.model).stem().string();
  if (options.fast) return "fast " + file;
  const at::ScalarType dtype =
      scalar_type(options.dtype, usable_device(options.device, "--device"));
  if (options.quantize == Quantize::none) {
    if (dtype == at::kHalf) return "fp16";
    return dtype == at::kBFloat16 ? "bf16" : dtype == at::kDouble ? "fp64" : "fp32";
  }
  return fmt::format("{} {}", enum_name(options.quantize), file);
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[16];
  std::strftime(text, sizeof(text), "%Y-%m-%d", &utc);
  return text;
}

}  // namespace

std::string csv_header() {
  return "case,program,version,threads,dtype,value,unit,peak_mb,machine,date";
}

std::string csv_line(const Row& row, const Options& options) {
  const int64_t peak = options.device == "cpu" ? peak_memory_bytes() : peak_gpu_bytes();
  return fmt::format("{},{},{},{},{},{:.6g},{},{:.0f},{},{}", row.name, options.program,
                     LEASH_BENCH_VERSION, at::get_num_threads(), weights_name(options), row.value,
                     row.unit, static_cast<double>(peak) / 1e6, machine(options), today());
}

double Stopwatch::lap() {
#ifdef LEASH_CUDA
  if (c10::cuda::device_count() > 0) c10::cuda::device_synchronize();
#endif
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> passed = now - std::exchange(start_, now);
  return passed.count();
}

std::shared_ptr<const Decoder> load_decoder(const Options& options) {
  const at::Device device = usable_device(options.device, "--device");
  return Decoder::load(open_checkpoint(resolve_model(options.model)),
                       {.dtype = scalar_type(options.dtype, device),
                        .quantize = options.quantize,
                        .fast = options.fast,
                        .device = device});
}

Adapter bench_adapter(const Decoder& decoder) {
  LoraConfig config;
  config.r = 16;
  config.lora_alpha = 32;
  config.target_modules = std::vector<std::string>{"q_proj", "k_proj", "v_proj", "o_proj"};
  Adapter adapter = Adapter::create(config, decoder.modules(), /*seed=*/1);
  for (at::Tensor parameter : adapter.parameters()) parameter.detach().add_(1e-4);
  return adapter.to(decoder.device());
}

std::vector<std::vector<int64_t>> random_ids(int64_t count, int64_t length, uint64_t seed) {
  std::vector<std::vector<int64_t>> sequences(static_cast<size_t>(count));
  uint64_t sample = 0;
  for (auto& ids : sequences) {
    for (int64_t place = 0; place < length; ++place) {
      const double uniform =
          draw_uniform({seed, Purpose::sampling, 0, sample, static_cast<uint64_t>(place)});
      ids.push_back(100 + static_cast<int64_t>(uniform * 39900));
    }
    ++sample;
  }
  return sequences;
}

std::vector<Prompt> prompts_of(const std::vector<std::vector<int64_t>>& ids) {
  std::vector<Prompt> prompts;
  for (const auto& sequence : ids) {
    prompts.push_back({.ids = sequence, .sample = static_cast<uint64_t>(prompts.size())});
  }
  return prompts;
}

GenerationConfig fixed_length(int64_t new_tokens) {
  GenerationConfig config;
  config.sampling.temperature = 0.7;
  config.max_new_tokens = new_tokens;
  return config;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace leash::bench
