// Which files of a folder are a run's.
#pragma once

#include <filesystem>
#include <string>

namespace leash {

// What the lock's file holds: "PID leash". By it a folder is known in which a run began and wrote
// nothing yet.
std::string lock_text();

// ConfigError where a run must not write into `folder` (which may not exist):
//   - it holds files, but none by which a run of leash is known (its lock's text, its
//     resolved.yaml, a snapshot)
//   - a name that a run uses is taken by something else: records of another program, a symbolic
//     link (also in adapter/, evaluations/ and snapshots/), a pipe
// Nothing is changed.
void require_run_folder(const std::filesystem::path& folder);

// Removes what killed writers left in the folder, in adapter/ and in evaluations/, known by name:
// "report.html.tmp-PID", "resolved.yaml.PID-N.tmp".
void remove_unfinished_files(const std::filesystem::path& folder);

}  // namespace leash
