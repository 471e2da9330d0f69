#include "experiments/cli/run_steps.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <variant>

#include "experiments/cli/commands.h"
#include "experiments/cli/export_model.h"
#include "experiments/cli/options.h"

namespace leash::cli {

namespace fs = std::filesystem;

fs::path new_run_dir(const fs::path& recipe, std::string_view infix) {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local = {};
  localtime_r(&now, &local);
  char time[32];
  std::strftime(time, sizeof(time), "%Y%m%d-%H%M%S", &local);
  return fs::path("runs") / fmt::format("{}-{}{}", recipe.stem().string(), infix, time);
}

std::string shell_quoted(const std::string& word) {
  const bool plain = word.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=-:,"
                         "[]") == std::string::npos;
  if (plain && !word.empty()) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string recipe_arguments(const boost::program_options::variables_map& values) {
  std::string command = shell_quoted(values["recipe"].as<std::string>());
  for (const std::string& setting :
       given<std::vector<std::string>>(values, "set").value_or(Arguments{})) {
    command += " --set " + shell_quoted(setting);
  }
  for (const char* option : {"dtype", "quantize"}) {
    if (const auto value = given<std::string>(values, option)) {
      command += fmt::format(" --{} {}", option, shell_quoted(*value));
    }
  }
  if (const auto threads = given<int64_t>(values, "threads")) {
    command += fmt::format(" --threads {}", *threads);
  }
  if (values["allow-other-base"].as<bool>()) command += " --allow-other-base";
  return command;
}

std::vector<std::string> export_at_end(const Experiment& experiment, const fs::path& folder) {
  const std::vector<ExportKind>& kinds = experiment.run().exports;
  if (kinds.empty()) return {};
  const std::string model =
      std::visit([](const auto& setup) { return setup.model.path.name; }, experiment.setup);
  const Checkpoint checkpoint = open_checkpoint(resolve_model(model));
  ExportRequest request{.checkpoint = checkpoint,
                        .decoder = Decoder::load(checkpoint, at::kFloat),
                        .adapter = folder / "adapter"};
  fs::create_directories(folder / "export");
  std::vector<std::string> lines;
  for (const ExportKind kind : kinds) {
    const bool is_file = kind == ExportKind::gguf || kind == ExportKind::gguf_adapter;
    request.kind = kind;
    request.out = folder / "export" /
                  (kind == ExportKind::gguf ? "model.gguf"
                   : is_file                ? "adapter.gguf"
                                            : std::string(enum_name(kind)));
    fs::remove_all(request.out);
    const ExportResult result = export_model(request);
    lines.push_back(fmt::format("export:  {} ({})", request.out.string(), gap_text(result)));
  }
  return lines;
}

}  // namespace leash::cli
