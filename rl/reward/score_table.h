// What several sources say of the same answers, side by side.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace leash {

struct ScoredAnswer {
  std::string prompt{};  // what was asked
  std::string answer{};
  bool ended = true;
  int64_t tokens = 0;
  std::vector<double> scores{};  // by source
  double total = 0;              // plain_total
};

struct ScoreTable {
  std::vector<std::string> labels{};  // of the sources
  std::vector<ScoredAnswer> answers{};
  std::vector<double> seconds{};  // that each source took for all answers
  bool normalizes = false;        // a run would use other totals
};

struct Distribution {
  double mean = 0, deviation = 0;  // n - 1; 0 for one value
  double least = 0, median = 0, most = 0;
  int64_t different = 0;             // values
  std::vector<int64_t> histogram{};  // ten equal parts of [least, most]; one where both are equal
};
Distribution distribution_of(std::vector<double> values);

// Pearson's; none where one side is the same for all.
std::optional<double> correlation(const std::vector<double>& a, const std::vector<double>& b);

// Two sources, and the answers which they rank most differently: those whose ranks (from 0 to 1,
// equal scores sharing the middle of theirs) are more than half apart, at most three.
struct Disagreement {
  size_t first = 0, second = 0;  // sources
  std::optional<double> correlation{};
  std::vector<size_t> answers{};
};
std::vector<Disagreement> disagreements(const ScoreTable& table);

// For people: a row per source, the first `shown` answers with a column per source, disagreements.
std::string score_table_text(const ScoreTable& table, size_t shown);
// For programs: a line per answer, {"index", "prompt", "answer", "ended", "tokens", "scores":
// {label: score}, "total"}, and one {"summary": {…}}.
std::vector<nlohmann::ordered_json> score_table_lines(const ScoreTable& table);

}  // namespace leash
