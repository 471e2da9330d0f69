#include "rl/run/good_snapshots.h"

#include <fmt/format.h>

#include "models/errors.h"

namespace leash {

GoodSnapshots::GoodSnapshots(const RunFolder& folder, int64_t save_total_limit, bool prunes)
    : folder_(folder.path()),
      save_total_limit_(save_total_limit),
      prunes_(prunes),
      newest_(folder.snapshot()) {
  if (!newest_) return;
  for (const Snapshot& snapshot : list_snapshots(folder_)) {
    if (snapshot.step < newest_->step) good_ = snapshot;
  }
}

void GoodSnapshots::proven(std::optional<int64_t> best_step) {
  if (!newest_ || (good_ && good_->step == newest_->step)) return;
  good_ = newest_;
  if (prunes_) prune_snapshots(folder_, save_total_limit_, best_step);
}

Metrics GoodSnapshots::naming(const std::function<Metrics()>& step) const {
  try {
    return step();
  } catch (const NonFinite& error) {
    throw NonFinite(fmt::format("{}; {}", error.what(), where_to_go_on()));
  }
}

std::string GoodSnapshots::where_to_go_on() const {
  if (!newest_) return "there is no snapshot yet";
  if (good_ && good_->step == newest_->step) {
    return "the last good snapshot is " + good_->path.string();
  }
  const std::string bad = newest_->path.string();
  if (!good_) return fmt::format("there is no good snapshot: {} holds the weights of this", bad);
  return fmt::format(
      "the last good snapshot is {}; {} holds the weights of this: remove it to go on from there",
      good_->path.string(), bad);
}

}  // namespace leash
