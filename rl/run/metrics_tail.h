// A run's metrics.jsonl, read while the run writes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "rl/run/run_log.h"

namespace leash {

class MetricsTail {
 public:
  explicit MetricsTail(std::filesystem::path file) : file_(std::move(file)) {}

  // The whole lines that came since it was asked last; none where there is no file. FormatError
  // names a line that is none of a run.
  std::vector<MetricsRow> next();

 private:
  std::filesystem::path file_;
  uint64_t read_ = 0;  // bytes
};

}  // namespace leash
