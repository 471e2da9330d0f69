// leash doctor: what this machine is, what this build can use of it, and what is missing.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>

#include "experiments/cli/commands.h"
#include "experiments/cli/doctor/machine_facts.h"
#include "experiments/cli/options.h"
#include "experiments/cli/version.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "models/io/hub_cache.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr int64_t kGiB = int64_t{1} << 30;
constexpr int64_t kDemoMemory = 2 * kGiB, kSetUpDisk = 3 * kGiB / 2;

constexpr CommandHelp kDoctorHelp{
    "doctor", "[--quick]",
    "What this machine is, what this build of leash can use of it, what is missing and how to get\n"
    "it. Put what it prints into a report of a problem: it names no file of yours but the cache.",
    "  leash doctor\n"
    "  leash doctor --quick"};

std::string gib(int64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / kGiB);
}

class Report {
 public:
  void fact(std::string_view name, const std::string& value) {
    std::cout << fmt::format("{:<14} {}\n", name, value);
  }
  void problem(std::string text) { problems_.push_back(std::move(text)); }
  void finish() const {
    if (problems_.empty()) {
      std::cout << "\nNothing is missing.\n";
      return;
    }
    std::cout << "\nTo be mended:\n";
    for (const std::string& problem : problems_) std::cout << "  - " << problem << "\n";
  }

 private:
  std::vector<std::string> problems_;
};

void report_cpu(const MachineFacts& machine, Report& report) {
  report.fact("system", machine.system);
  report.fact("CPU", fmt::format("{}, {} cores for leash", machine.cpu, machine.cores));
  report.fact("vectors", fmt::format("{}", fmt::join(machine.extensions, " ")));
  const bool wide = machine.has("avx512f") && machine.has("avx512vl");
  report.fact("kernels", wide ? "leash's own in float32 (AVX-512), LibTorch's in other types"
                              : "LibTorch's: this CPU has no AVX-512");
  report.fact("bfloat16", machine.has("amx_bf16")      ? "in hardware (AMX)"
                          : machine.has("avx512_bf16") ? "in hardware (AVX512-BF16)"
                                                       : "emulated: slower than float32 here");
  if (!machine.has("avx2")) {
    report.problem("the CPU has no AVX2: everything runs, slowly; take another machine");
  }
}

void report_memory(const MachineFacts& machine, Report& report) {
  report.fact("memory",
              fmt::format("{}, {} available", gib(machine.memory), gib(machine.available)));
  if (machine.available >= kDemoMemory) return;
  report.problem(
      fmt::format("{} of memory are available, the demo needs some 1.5: end other "
                  "programs, or see what a recipe needs with `leash plan RECIPE`",
                  gib(machine.available)));
}

void report_speed(Report& report) {
  const ProductSpeeds speeds = measure_products(DtypeChoice::bfloat16);
  report.fact("products", fmt::format("float32 {:.0f} GFLOP/s, bfloat16 {:.0f} GFLOP/s (a few "
                                      "milliseconds' measurement)",
                                      speeds.float32, speeds.narrow));
}

void report_gpus(const MachineFacts& machine, Report& report) {
  report.fact("GPUs", machine.gpus.empty()
                          ? "none on the bus"
                          : fmt::format("NVIDIA {}", fmt::join(machine.gpus, ", ")));
  report.fact("driver", machine.driver ? *machine.driver : "none");
  report.fact("nvcc", machine.nvcc ? machine.nvcc->string() : "none");
  const auto problem = device_problem(at::Device(at::kCUDA, 0));
  report.fact("this build", problem ? "does not use a GPU here: " + *problem : "uses the GPUs");
  if (machine.gpus.empty()) return;
  if (!machine.driver) {
    report.problem(
        "there is a GPU and no driver: apt-get install nvidia-driver (non-free), then "
        "restart");
  } else if (problem) {
    report.problem(
        "there is a GPU and this build does not use it: make demo DEVICE=cuda "
        "(docs/gpu.md)");
  }
}

void report_libraries(const MachineFacts& machine, Report& report) {
  for (const char* name : {"libtorch_cpu.so", "libgomp", "libcpp-httplib"}) {
    const auto file = loaded_library(name);
    report.fact(name, file ? *file : "linked into the program");
  }
  report.fact("python3", machine.python ? machine.python->string()
                                        : "none (only reward programs in Python need it)");
}

void report_cache(Report& report) {
  try {
    report.fact("smollm2", resolve_model("smollm2").string());
  } catch (const FormatError& error) {
    report.fact("smollm2", "not there");
    report.problem(
        fmt::format("{}; or give --model a GGUF file or a Hugging Face folder", error.what()));
  }
  const auto hub = hub_cache_folder();
  std::error_code error;
  report.fact(
      "Hugging Face",
      !hub ? "no cache"
           : hub->string() + (std::filesystem::is_directory(*hub, error) ? "" : " (not there)"));
  const auto left = free_bytes(std::filesystem::current_path());
  report.fact("disk", left ? gib(*left) + " free here" : "unknown");
  if (left && *left < kSetUpDisk) {
    report.problem(fmt::format("{} of disk are free here, and a build with its cache takes 1.5 GB",
                               gib(*left)));
  }
}

}  // namespace

int doctor(const Arguments& args) {
  po::options_description options("Options");
  options.add_options()("quick", po::bool_switch(), "measure nothing");
  const auto values = parse_options(kDoctorHelp, std::move(options), {}, args);
  if (!values) return 0;
  std::cout << version_text() << "\n";
  const MachineFacts machine = machine_facts();
  Report report;
  report_cpu(machine, report);
  if (!(*values)["quick"].as<bool>()) report_speed(report);
  report_memory(machine, report);
  report_gpus(machine, report);
  report_libraries(machine, report);
  report_cache(report);
  report.finish();
  return 0;
}

}  // namespace leash::cli
