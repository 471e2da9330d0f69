// A run's folder that several ranks look at: rank 0 owns it, the others read its snapshots.
#pragma once

#include <filesystem>

#include "rl/distributed/communicator.h"
#include "rl/run/run_folder.h"

namespace leash {

// RunFolder::open on rank 0, whose `path` counts; the others get a view of what it found.
// FormatError on a rank that does not see the snapshot: the folder has to lie on a file system that
// all machines share.
RunFolder open_run_folder(Communicator& communicator, const std::filesystem::path& path,
                          bool resume);

}  // namespace leash
