// leash sweep: many runs of one recipe, alive at once on one base.
#include "configs/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>

#include "configs/tasks.h"
#include "experiments/cli/app.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/recipe.h"
#include "experiments/cli/run_steps.h"
#include "experiments/cli/sweep_runner.h"
#include "models/errors.h"
#include "models/printable.h"
#include "rl/distributed/launch.h"
#include "rl/plan/model_facts.h"
#include "rl/plan/plan.h"
#include "rl/report/sweep_report.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr CommandHelp kSweepHelp{
    "sweep", "RECIPE.yaml [--grid a.b=x,y]… [--seeds N] [--jobs N] [--set a.b=c]… [--run-dir DIR]",
    "Trains a run for every combination of the given values and every seed, all in this process "
    "over one\ncopy of the base, in turns by step. Each has a folder of its own in DIR, with the "
    "files and numbers\nthat `leash train` alone would give; DIR/sweep.json says how each stands. "
    "The recipe may hold all\nthis as a section `sweep:`. A signal stops all with snapshots; "
    "--resume goes on. A run that fails\nends alone (exit code 1 once all others are done).",
    "  leash sweep configs/recipes/demo.yaml --grid ppo.kl_coef=0.02,0.05 --seeds 3\n"
    "  leash sweep recipe.yaml --grid lora.r=8,16 --grid ppo.learning_rate=1e-4,3e-4 --run-dir "
    "runs/grid\n"
    "  leash sweep recipe.yaml --run-dir runs/grid --resume"};

po::options_description sweep_options() {
  po::options_description options("Options");
  add_recipe_options(options);
  auto add = options.add_options();
  add("grid", po::value<std::vector<std::string>>()->value_name("A.B=X,Y")->composing(),
      "values of a setting (repeatable: all combinations)");
  add("seeds", po::value<int64_t>()->value_name("N"),
      "runs of each setting: run.seed and the seeds after it");
  add("jobs", po::value<int64_t>()->value_name("N"),
      "runs alive at once (default: as far as memory allows)");
  add("run-dir", po::value<std::string>()->value_name("DIR"),
      "the sweep's folder (default: run.output_dir, or runs/<recipe>-sweep-<time>)");
  add("resume", po::bool_switch(), "go on with the sweep in that folder");
  add("allow-inexact", po::bool_switch(),
      "resume although dtype, threads, CPU or LibTorch differ from a snapshot's");
  add_other_base_option(options);
  return options;
}

Sweep read_runs(const po::variables_map& values) {
  auto overrides = given<std::vector<std::string>>(values, "set").value_or(Arguments{});
  for (const auto& [option, path] :
       {std::pair{"dtype", "model.dtype"}, std::pair{"quantize", "model.quantize"}}) {
    if (const auto value = given<std::string>(values, option)) {
      overrides.push_back(fmt::format("{}={}", path, *value));
    }
  }
  if (const auto threads = given<int64_t>(values, "threads")) {
    overrides.push_back(fmt::format("run.threads={}", *threads));
  }
  const auto recipe = given<std::string>(values, "recipe");
  if (!recipe) throw ConfigError("a recipe is missing (configs/recipes/ has some)");
  Sweep sweep =
      load_sweep(*recipe, overrides,
                 {.grid = given<std::vector<std::string>>(values, "grid").value_or(Arguments{}),
                  .seeds = given<int64_t>(values, "seeds"),
                  .jobs = given<int64_t>(values, "jobs")});
  for (const std::string& warning : sweep.warnings) {
    std::cerr << "leash: warning: " << printable_lines(warning) << "\n";
  }
  return sweep;
}

void check_sweep_options(const po::variables_map& values) {
  OptionProblems problems;
  for (const char* name : {"seeds", "jobs"}) {
    const auto count = given<int64_t>(values, name);
    problems.require(!count || (*count >= 1 && *count <= 1000),
                     fmt::format("--{} has to be between 1 and 1000", name));
  }
  problems.check();
  if (read_launch(process_environment()).size > 1) {
    throw ConfigError(
        "a sweep runs in one process: start it without torchrun, mpirun or srun, or start `leash "
        "train` with them for each run");
  }
}

// The bound within which a run chooses the adapter that it exports, where its task has one.
std::optional<double> kl_bound(const Experiment& experiment) {
  return std::visit(
      []<class Setup>(const Setup& setup) -> std::optional<double> {
        const auto& section = setup.*TaskTraits<Setup>::section;
        if constexpr (requires { section.best_max_kl; }) return section.best_max_kl;
        return std::nullopt;
      },
      experiment.setup);
}

SweepRecord new_record(const Sweep& sweep, const std::string& recipe) {
  const Experiment& first = sweep.runs.front().experiment;
  SweepRecord record{
      .recipe = recipe, .task = std::string(task_name(first.setup)), .max_kl = kl_bound(first)};
  for (const SweepRun& run : sweep.runs) {
    record.runs.push_back({.name = run.name, .settings = run.settings, .seed = run.seed});
  }
  return record;
}

// What the folder says of an earlier part of the sweep. ConfigError where that is another one.
SweepRecord known_record(const fs::path& folder, SweepRecord wanted, bool resume) {
  if (!has_sweep_record(folder)) return wanted;
  if (!resume) {
    throw ConfigError(
        fmt::format("{} holds a sweep already: go on with it by --resume, or choose another folder "
                    "by --run-dir",
                    folder.string()));
  }
  const SweepRecord known = read_sweep_record(folder);
  if (!std::ranges::equal(known.runs, wanted.runs, {}, &SweepEntry::name, &SweepEntry::name)) {
    throw ConfigError(fmt::format(
        "{} holds a sweep of other runs ({}, … and {} in all): give the same grid and seeds",
        folder.string(), known.runs.front().name, known.runs.size()));
  }
  for (size_t i = 0; i < wanted.runs.size(); ++i) {
    wanted.runs[i].status = known.runs[i].status;
    wanted.runs[i].step = known.runs[i].step;
    wanted.runs[i].why = known.runs[i].why;
  }
  return wanted;
}

int64_t available_memory() {
  std::ifstream stream("/proc/meminfo");
  for (std::string name; stream >> name;) {
    int64_t kilobytes = 0;
    if (name == "MemAvailable:" && stream >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

// What one more run takes for itself: an adapter with gradients and moments, and its threads.
constexpr int64_t kThreadBytes = 60'000'000;
constexpr int64_t kBytesPerTrained = 5 * 4;  // with the best one, read back at the end

// As many as fit beside the base and one run's pass.
size_t jobs_of(const Sweep& sweep) {
  const auto runs = sweep.runs.size();
  if (sweep.config.jobs > 0) return std::min(runs, static_cast<size_t>(sweep.config.jobs));
  const Plan plan = std::visit(
      [](const auto& setup) {
        return plan_of(setup, facts_of(open_checkpoint(resolve_model(setup.model.path))), {});
      },
      sweep.runs.front().experiment.setup);
  const int64_t own = plan.trainable_parameters * kBytesPerTrained + kThreadBytes;
  const int64_t left = available_memory() - plan.peak_bytes();
  return std::clamp<size_t>(left > 0 ? static_cast<size_t>(left / own) + 1 : 1, 1, runs);
}

int exit_code(const SweepRecord& record, bool interrupted) {
  if (interrupted) return kInterrupted;
  const bool failed =
      std::ranges::find(record.runs, SweepStatus::failed, &SweepEntry::status) != record.runs.end();
  return failed ? kRunFailed : kDone;
}

}  // namespace

int sweep(const Arguments& args) {
  const auto values = parse_options(kSweepHelp, sweep_options(), {"recipe"}, args);
  if (!values) return 0;
  ignore_write_signals();
  check_sweep_options(*values);
  const Sweep sweep = read_runs(*values);
  const fs::path recipe = (*values)["recipe"].as<std::string>();
  const bool resume = (*values)["resume"].as<bool>();
  const auto own_folder = sweep.runs.front().experiment.run().output_dir;
  const auto named = given<std::string>(*values, "run-dir");
  if (resume && !named && !own_folder) {
    throw ConfigError("--resume needs the sweep's folder: --run-dir, or run.output_dir");
  }
  const fs::path folder =
      named ? fs::path(*named) : own_folder.value_or(new_run_dir(recipe, "sweep-"));
  SweepRecord record = known_record(folder, new_record(sweep, recipe.string()), resume);
  std::string go_on = "leash sweep " + recipe_arguments(*values);
  for (const std::string& grid :
       given<std::vector<std::string>>(*values, "grid").value_or(Arguments{})) {
    go_on += " --grid " + shell_quoted(grid);
  }
  for (const char* name : {"seeds", "jobs"}) {
    if (const auto count = given<int64_t>(*values, name))
      go_on += fmt::format(" --{} {}", name, *count);
  }
  go_on += " --run-dir " + shell_quoted(folder.string()) + " --resume";
  const size_t jobs = jobs_of(sweep);
  fs::create_directories(folder);
  SweepRunner runner(sweep, std::move(record),
                     {.folder = folder,
                      .resume = resume,
                      .allow_inexact = (*values)["allow-inexact"].as<bool>(),
                      .go_on = go_on});
  std::cerr << fmt::format("sweep: {} runs, {} alive at once, in {}\n", sweep.runs.size(), jobs,
                           folder.string());
  const SweepRecord& ended = runner.train(jobs);
  if (runner.interrupted()) std::cerr << "interrupted; go on with: " << go_on << "\n";
  const fs::path report = write_sweep_report(folder);
  std::cout << "report:  " << report.string() << "\n";
  std::cout << "sweep:   " << (folder / "sweep.json").string() << "\n";
  return exit_code(ended, runner.interrupted());
}

}  // namespace leash::cli
