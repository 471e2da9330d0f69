#include "experiments/cli/sweep_table.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string_view>

#include "models/printable.h"

namespace leash::cli {
namespace {

struct TableColumn {
  const char* label;
  const char* metric;
};
constexpr TableColumn kTableColumns[] = {{"held-out reward", "eval/sampled/reward"},
                                         {"held-out KL", "eval/sampled/kl"},
                                         {"reward", "objective/scores"},
                                         {"KL", "objective/kl"},
                                         {"held-out accuracy", "eval/accuracy"},
                                         {"held-out loss", "eval/loss"},
                                         {"accuracy", "accuracy"},
                                         {"loss", "loss"}};
constexpr size_t kMostColumns = 4;

std::optional<double> newest_value(const Metrics& metrics, std::string_view name) {
  for (const auto& [known, value] : metrics) {
    if (known == name) return value;
  }
  return std::nullopt;
}

bool is_terminal_error() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

std::vector<TableColumn> columns_of(const NewestMetrics& newest) {
  std::vector<TableColumn> columns;
  for (const TableColumn& column : kTableColumns) {
    const bool logged = std::ranges::any_of(newest, [&](const Metrics& metrics) {
      return newest_value(metrics, column.metric).has_value();
    });
    if (logged && columns.size() < kMostColumns) columns.push_back(column);
  }
  return columns;
}

// Lines that would wrap could not be rewritten.
size_t terminal_width() {
  winsize size = {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
}

}  // namespace

std::string sweep_table(const std::vector<SweepEntry>& runs, const NewestMetrics& newest) {
  const std::vector<TableColumn> columns = columns_of(newest);
  size_t widest = 3;
  for (const SweepEntry& run : runs) widest = std::max(widest, run.name.size());
  std::string text = fmt::format("{:<{}}  {:<11} {:>6}", "run", widest, "", "step");
  for (const TableColumn& column : columns) text += fmt::format("  {:>15}", column.label);
  text += "\n";
  for (size_t i = 0; i < runs.size(); ++i) {
    text += fmt::format("{:<{}}  {:<11} {:>6}", runs[i].name, widest, enum_name(runs[i].status),
                        runs[i].step);
    for (const TableColumn& column : columns) {
      const auto value = newest_value(newest[i], column.metric);
      text += value ? fmt::format("  {:>15.4g}", *value) : fmt::format("  {:>15}", "");
    }
    text += "\n";
  }
  return text;
}

SweepConsole::SweepConsole() : terminal_(is_terminal_error()) {}

void SweepConsole::message(const std::string& text) {
  if (lines_ > 0) std::cerr << fmt::format("\x1b[{}A\x1b[J", lines_);
  lines_ = 0;
  std::cerr << printable_lines(text) << "\n" << std::flush;
}

void SweepConsole::show(const std::vector<SweepEntry>& runs, const NewestMetrics& newest) {
  const std::string table = sweep_table(runs, newest);
  if (terminal_) {
    std::string drawn = lines_ > 0 ? fmt::format("\x1b[{}A\x1b[J", lines_) : "";
    lines_ = 0;
    for (size_t begin = 0; begin < table.size(); ++lines_) {
      const size_t end = table.find('\n', begin);
      drawn += table.substr(begin, std::min(end - begin, terminal_width())) + "\n";
      begin = end + 1;
    }
    std::cerr << drawn << std::flush;
    return;
  }
  said_.resize(runs.size(), SweepStatus::waiting);
  for (size_t i = 0; i < runs.size(); ++i) {
    if (said_[i] == runs[i].status) continue;
    said_[i] = runs[i].status;
    std::cerr << fmt::format("{}: {}, step {}{}\n", runs[i].name, enum_name(runs[i].status),
                             runs[i].step,
                             runs[i].why.empty() ? "" : ": " + printable_lines(runs[i].why));
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - shown_ < std::chrono::minutes(1)) return;
  shown_ = now;
  std::cerr << table << std::flush;
}

}  // namespace leash::cli
