// sweep.json: which runs a sweep has, where they are, and how each stands.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/fields.h"

namespace leash {

enum class SweepStatus { waiting, running, done, stopped, failed, interrupted };
template <>
struct EnumNames<SweepStatus> {
  static constexpr std::pair<SweepStatus, std::string_view> values[] = {
      {SweepStatus::waiting, "waiting"}, {SweepStatus::running, "running"},
      {SweepStatus::done, "done"},       {SweepStatus::stopped, "stopped"},
      {SweepStatus::failed, "failed"},   {SweepStatus::interrupted, "interrupted"}};
};

struct SweepEntry {
  std::string name;                                             // of its folder beside sweep.json
  std::vector<std::pair<std::string, std::string>> settings{};  // path, value; without the seed
  int64_t seed = 0;
  SweepStatus status = SweepStatus::waiting;
  int64_t step = 0;   // steps done
  std::string why{};  // why it failed or was stopped
};

struct SweepRecord {
  std::string recipe{};
  std::string task{};
  std::optional<double> max_kl{};  // the recipe's bound on the exact KL of what is exported
  std::vector<SweepEntry> runs{};
};

// Appears whole or not at all.
void write_sweep_record(const std::filesystem::path& folder, const SweepRecord& record);
bool has_sweep_record(const std::filesystem::path& folder);
// FormatError where the file cannot be read, is no such record, or names a folder outside.
SweepRecord read_sweep_record(const std::filesystem::path& folder);

}  // namespace leash
