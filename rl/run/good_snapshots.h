// Which snapshots of a run are known to be good. A snapshot counts as good when a forward pass with
// its weights was finite; older ones are kept until then.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "models/io/snapshot.h"
#include "rl/run/run_folder.h"
#include "rl/statistics/metrics.h"

namespace leash {

class GoodSnapshots {
 public:
  // The snapshot that the run goes on from is not proven yet, the one before it is. Only the one
  // who `prunes` removes any: all but the newest `save_total_limit` (0: none).
  GoodSnapshots(const RunFolder& folder, int64_t save_total_limit, bool prunes);

  const std::optional<Snapshot>& newest() const { return newest_; }
  void written(const Snapshot& snapshot) { newest_ = snapshot; }
  // A forward pass with the weights of the newest one was finite. The first time, older ones are
  // pruned; that of `best_step` stays.
  void proven(std::optional<int64_t> best_step);

  // Runs one step; a NonFinite out of it gets the last good snapshot's name.
  Metrics naming(const std::function<Metrics()>& step) const;

 private:
  std::string where_to_go_on() const;

  std::filesystem::path folder_;
  int64_t save_total_limit_;
  bool prunes_;
  std::optional<Snapshot> newest_;
  std::optional<Snapshot> good_;
};

}  // namespace leash
