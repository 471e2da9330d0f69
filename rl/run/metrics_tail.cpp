#include "rl/run/metrics_tail.h"

#include <fmt/format.h>

#include <fstream>

#include "models/errors.h"

namespace leash {

std::vector<MetricsRow> MetricsTail::next() {
  std::vector<MetricsRow> rows;
  std::ifstream stream(file_, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(read_));
  for (std::string line; std::getline(stream, line) && !stream.eof();) {
    const auto row = read_metrics_line(line);
    if (!row) {
      throw FormatError(fmt::format("{}: at byte {}: is no line of a run", file_.string(), read_));
    }
    rows.push_back(*row);
    read_ += line.size() + 1;
  }
  return rows;
}

}  // namespace leash
