// The tiny recipe of one task (tests/tasks/recipes/NAME.yaml) and its runs.
#pragma once

#include <csignal>
#include <set>

#include "models/io/snapshot.h"
#include "tests/cli/distributed_workspace.h"

namespace leash::testing {

inline std::filesystem::path task_recipe(const std::string& task) {
  return repository("tests/tasks/recipes") / (task + ".yaml");
}

// The recipes with their data, beside the tiny model that they name.
class TaskRuns : public DistributedWorkspace {
 public:
  explicit TaskRuns(const std::string& task) : recipe_(task + ".yaml") {
    std::filesystem::copy(task_recipe(task).parent_path(), path(),
                          std::filesystem::copy_options::recursive |
                              std::filesystem::copy_options::overwrite_existing);
  }

  std::filesystem::path recipe() const { return *this / recipe_; }
  Lines args(const std::string& folder, const Lines& more = {}) const {
    return args_of(recipe_, folder, more);
  }
  std::vector<Json> rows(const std::string& folder) const {
    return json_lines(read_text(*this / folder / "metrics.jsonl"));
  }
  std::vector<Snapshot> snapshots(const std::string& folder) const {
    return list_snapshots(*this / folder);
  }

  // A run that several tests look at: trained by the first of them.
  void need(const std::string& folder, const Lines& more = {}) {
    if (trained_.insert(folder).second) expect_done(run_leash(args(folder, more)));
  }

  // Ends a run by SIGKILL between its first snapshot and its last; again when it was over before.
  void kill_on_the_way(const std::string& folder, size_t num_snapshots) const {
    for (int attempt = 0; attempt < 10; ++attempt) {
      std::filesystem::remove_all(*this / folder);
      Process process(leash_command(args(folder)), {.environment = {{"OMP_NUM_THREADS", "1"}}});
      process.wait_until([&] { return !snapshots(folder).empty(); });
      process.signal(SIGKILL);
      const Ended ended = process.wait();
      const size_t written = snapshots(folder).size();
      if (ended.signal == SIGKILL && written > 0 && written < num_snapshots) return;
    }
    ADD_FAILURE() << "the run was always over before the signal reached it";
  }

 private:
  std::string recipe_;
  std::set<std::string> trained_{};
};

}  // namespace leash::testing
