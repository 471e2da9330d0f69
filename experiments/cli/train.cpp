// leash train: one run from one recipe.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <thread>
#include <variant>

#include "configs/checker.h"
#include "configs/experiment.h"
#include "configs/tasks.h"
#include "experiments/cli/app.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/recipe.h"
#include "experiments/cli/run_steps.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/kernels/packed_product.h"
#include "models/printable.h"
#include "rl/distributed/launch.h"
#include "rl/report/run_report.h"
#include "rl/run/console.h"
#include "rl/run/interrupt.h"
#include "rl/run/phase_profile.h"
#include "rl/run/run_folder.h"
#include "rl/run/shared_folder.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr CommandHelp kTrainHelp{
    "train", "RECIPE.yaml [--set a.b=c]… [--run-dir DIR] [--resume]",
    "Trains as the recipe says. The run's folder holds resolved.yaml, metrics.jsonl, "
    "samples.jsonl,\n"
    "snapshots/, the trained adapter in PEFT's format (adapter/) and report.html. SIGINT, "
    "SIGTERM and\n"
    "SIGHUP finish the step and write a snapshot; --resume goes on from the newest one, bit for "
    "bit as if\nthere had been no interruption.",
    "  leash train configs/recipes/demo.yaml\n"
    "  leash train configs/recipes/demo.yaml --set ppo.kl_coef=0.1 --run-dir runs/stricter\n"
    "  leash train configs/recipes/demo.yaml --run-dir runs/stricter --resume"};

po::options_description train_options() {
  po::options_description options("Options");
  add_recipe_options(options);
  auto add = options.add_options();
  add("run-dir", po::value<std::string>()->value_name("DIR"),
      "the run's folder (default: run.output_dir, or runs/<recipe>-<time>)");
  add("resume", po::bool_switch(), "go on from the newest snapshot in the run's folder");
  add("allow-inexact", po::bool_switch(),
      "resume although dtype, threads, CPU or LibTorch differ from the snapshot's (never another "
      "model)");
  add("profile", po::bool_switch(),
      "print where the time went, by phase and operator, and write profile.json");
  add_other_base_option(options);
  return options;
}

fs::path run_dir(const po::variables_map& values, const RunConfig& run) {
  if (const auto folder = given<std::string>(values, "run-dir")) return *folder;
  if (run.output_dir) return *run.output_dir;
  return new_run_dir(values["recipe"].as<std::string>());
}

// What differs from an earlier part of the run.
void say_changes(const Experiment& experiment, const RunFolder& folder, Console& console) {
  if (!folder.snapshot()) return;
  check_meanings(read_resolved(folder.path()), (folder.path() / "resolved.yaml").string());
  bool judges = false;
  for (const std::string& change : changed_since(folder.path(), experiment)) {
    console.message("changed since the run began: " + change);
    judges = judges || change.starts_with("reward") || change.starts_with("rollout") ||
             change.starts_with("data.eval");
  }
  if (judges) {
    console.message(
        "warning: held-out results from before and from now are not of the same kind; gains "
        "and the best snapshot are taken over both");
  }
}

// The command that goes on with this run.
std::string resume_command(const po::variables_map& values, const fs::path& folder) {
  return fmt::format("leash train {} --run-dir {} --resume", recipe_arguments(values),
                     shell_quoted(folder.string()));
}

// Where a run that ends before its time can go on.
std::string where_to_go_on(const fs::path& folder, const std::string& command) {
  const auto snapshots = list_snapshots(folder);
  if (snapshots.empty()) return "there is no snapshot of this run yet";
  return fmt::format("the last snapshot is {}; go on with: {}", snapshots.back().path.string(),
                     command);
}

template <class Trainer>
RunOutcome train_or_say_where_to_go_on(Trainer& trainer, InterruptGuard& guard, Console& console,
                                       const fs::path& folder, const std::string& command) {
  try {
    return trainer.train([&] {
      guard.set_farewell(where_to_go_on(folder, command));
      return guard.requested();
    });
  } catch (const NonFinite&) {  // says itself which snapshot is good
    console.finish();
    console.message("the run failed; " +
                    (list_snapshots(folder).empty()
                         ? where_to_go_on(folder, command)
                         : "once its cause is mended, go on with: " + command));
    throw;
  } catch (...) {
    console.finish();
    console.message("the run failed; " + where_to_go_on(folder, command));
    throw;
  }
}

// Threads of one operation: what the recipe says, or this process's part of the machine.
int64_t threads_of(const RunConfig& run, const Launch& launch) {
  if (run.threads > 0 || launch.local_size == 1) return run.threads;
  // Launchers that bind a process to its part leave no more than that to split.
  const int64_t share = std::thread::hardware_concurrency() / launch.local_size;
  return std::clamp<int64_t>(share, 1, usable_cores());
}

// Ranks with different recipes would wait for each other, or train different things.
void require_equal_recipes(Communicator& communicator, const Experiment& experiment) {
  const std::string own = resolved_yaml(experiment);
  const std::string leaders = from_leader(communicator, own);
  if (own == leaders) return;
  std::string text = fmt::format("rank {} has another recipe than rank 0:", communicator.rank());
  for (const std::string& change : changed_settings(leaders, own)) text += "\n" + change;
  throw ConfigError(text);
}

int finish(const RunOutcome& outcome, const fs::path& folder, const std::string& command) {
  const fs::path report = write_run_report(folder, outcome.exported_step);
  if (outcome.end == RunEnd::interrupted) {
    std::cerr << fmt::format("interrupted after step {}; {}\ngo on with: {}\n", outcome.step,
                             outcome.last_snapshot
                                 ? "snapshot: " + outcome.last_snapshot->path.string()
                                 : "there is no snapshot yet",
                             command);
    return kInterrupted;
  }
  std::cout << printable_lines(outcome.comparison) << "\nadapter: " << (folder / "adapter").string()
            << "\nreport:  " << report.string() << "\n";
  return kDone;
}

void report_profile(PhaseProfile& profile, const fs::path& folder) {
  const auto phases = profile.phases();
  write_text_file(folder / "profile.json", profile_json(phases).dump(1) + "\n");
  std::cout << "\n" << profile_table(phases);
}

void warn_of_slow_dtype(const Experiment& experiment, Console& console) {
  const DtypeChoice dtype =
      std::visit([](const auto& setup) { return setup.model.dtype; }, experiment.setup);
  const bool on_cpu =
      std::visit([](const auto& setup) { return is_cpu(setup.devices.policy); }, experiment.setup);
  const bool own = dtype == DtypeChoice::bfloat16 && PackedMatrix::fits(at::kBFloat16, at::kCPU);
  if (!is_narrow(dtype) || !on_cpu || own) return;
  if (const auto warning = slow_dtype(dtype, measure_products(dtype))) {
    console.message("warning: " + *warning);
  }
}

// What one rank does of the run. Only rank 0 writes and talks.
int train_rank(const Experiment& experiment, const po::variables_map& values,
               Communicator& communicator) {
  require_equal_recipes(communicator, experiment);
  const RunConfig& run = experiment.run();
  RunFolder folder =
      open_run_folder(communicator, run_dir(values, run), values["resume"].as<bool>());
  Console console = communicator.leads() ? Console() : Console(-1, false);
  for (const std::string& message : folder.messages()) console.message(message);
  console.message("run: " + folder.path().string());
  if (communicator.size() > 1) {
    console.message(fmt::format("{} processes split the work", communicator.size()));
  }

  if (communicator.leads()) warn_of_slow_dtype(experiment, console);

  std::optional<PhaseProfile> profile;
  if (values["profile"].as<bool>()) {
    profile.emplace("loading");
    console.observe_phases([&profile](std::string_view phase) { profile->enter(phase); });
  }

  InterruptGuard guard(run.grace_seconds);
  const std::string command = resume_command(values, folder.path());
  if (communicator.leads()) say_changes(experiment, folder, console);
  const RunOutcome outcome = std::visit(
      [&]<class Setup>(const Setup& setup) {
        const auto trainer =
            make_trainer(setup, {.folder = folder,
                                 .communicator = communicator,
                                 .console = console,
                                 .allow_inexact = values["allow-inexact"].template as<bool>()});
        if (communicator.leads()) {  // what is in effect from now on
          write_text_file(folder.path() / "resolved.yaml", resolved_yaml(experiment));
        }
        return train_or_say_where_to_go_on(*trainer, guard, console, folder.path(), command);
      },
      experiment.setup);
  int code = outcome.end == RunEnd::finished ? kDone : kInterrupted;
  if (communicator.leads()) {
    if (profile) profile->enter("reporting");
    code = finish(outcome, folder.path(), command);
    if (code == kDone) {
      for (const std::string& line : export_at_end(experiment, folder.path())) {
        std::cout << line << "\n";
      }
    }
    if (profile) report_profile(*profile, folder.path());
  }
  communicator.barrier();  // nobody is done before the leader's files are
  return code;
}
}  // namespace

int train(const Arguments& args) {
  const auto values = parse_options(kTrainHelp, train_options(), {"recipe"}, args);
  if (!values) return 0;
  ignore_write_signals();  // `leash train … | head` and a full disk cost no snapshot
  const Launch launch = read_launch(process_environment());
  const Experiment experiment = load_recipe(*values, /*says_warnings=*/launch.rank == 0);
  const RunConfig& run = experiment.run();
  if ((*values)["resume"].as<bool>() && values->count("run-dir") == 0 && !run.output_dir) {
    throw ConfigError(
        "--resume needs the run's folder: --run-dir, or run.output_dir in the recipe");
  }
  set_threads(threads_of(run, launch));
  const auto communicator =
      make_communicator(run.ddp_backend, run.ddp_timeout, launch, run.ddp_meeting_timeout);
  try {
    return train_rank(experiment, *values, *communicator);
  } catch (const std::exception& error) {
    communicator->report_failure(error);
    throw;
  }
}

}  // namespace leash::cli
