#include "rl/run/shared_folder.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models/errors.h"

namespace leash {

RunFolder open_run_folder(Communicator& communicator, const std::filesystem::path& path,
                          bool resume) {
  if (communicator.leads()) {
    RunFolder folder = RunFolder::open(path, resume);
    const auto& snapshot = folder.snapshot();
    nlohmann::json found = {{"path", std::filesystem::absolute(folder.path()).string()}};
    if (snapshot) found["step"] = snapshot->step;
    from_leader(communicator, found.dump());
    return folder;
  }
  const auto found = nlohmann::json::parse(from_leader(communicator, ""));
  const std::filesystem::path shared = found.at("path").get<std::string>();
  if (!found.contains("step")) return RunFolder::view(shared, std::nullopt);
  const Snapshot snapshot = snapshot_of(shared, found.at("step"));
  if (const auto damage = snapshot_damage(snapshot.path)) {
    throw FormatError(fmt::format(
        "rank {} does not see rank 0's snapshot (the run's folder has to lie on a file system that "
        "all machines share): {}",
        communicator.rank(), *damage));
  }
  return RunFolder::view(shared, snapshot);
}

}  // namespace leash
