#include "rl/judges/persistent.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <chrono>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "models/printable.h"
#include "rl/judges/replies.h"

namespace leash {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr std::chrono::seconds kTimeToEnd{2};
// So long a program is listened to behind its last score: one that prints more than a line for each
// answer would else be seen with the next batch alone, when scores of this one are in wrong places.
constexpr int kSettleMilliseconds = 50;

// Whole lines of what a program printed.
size_t lines_in(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += c == '\n' ? 1 : 0;
  return count;
}

std::vector<double> scores_in(std::string_view output, size_t count) {
  std::vector<double> scores;
  while (scores.size() < count) {
    const size_t end = output.find('\n');
    scores.push_back(parse_score(output.substr(0, end), scores.size()));
    output.remove_prefix(end + 1);
  }
  if (output.empty()) return scores;
  throw std::runtime_error(fmt::format("printed `{}` behind its {} scores",
                                       printable(output.substr(0, output.find('\n'))), count));
}

}  // namespace

struct PersistentProgram::Running {
  Exchange exchange{kMoreReplyBytes};
  ProcessGroup group;
};

PersistentProgram::PersistentProgram(std::string command, const PersistentLimits& limits,
                                     ProgramPlace place)
    : command_(std::move(command)), limits_(limits), place_(std::move(place)) {}

PersistentProgram::~PersistentProgram() {
  if (!running_) return;
  running_->exchange.to.write->close();
  const auto begin = SteadyClock::now();
  try {
    while (!running_->group.status() && SteadyClock::now() - begin < kTimeToEnd) {
      running_->exchange.take();
      running_->exchange.go_on(running_->exchange.reads() ? kLookMilliseconds
                                                          : kLookForEndMilliseconds);
    }
  } catch (const std::exception&) {  // its end is all that counts
  }
}

void PersistentProgram::start() {
  running_ = std::make_unique<Running>();
  Exchange& exchange = running_->exchange;
  running_->group.start(command_, exchange.to.read->get(), exchange.from.write->get(), place_);
  exchange.to.read->close();
  exchange.from.write->close();
}

// Also says how.
bool PersistentProgram::has_ended() {
  const auto status = running_->group.status();
  if (!status) return false;
  ended_ = status_text(*status);
  if (WIFSTOPPED(*status)) throw std::runtime_error(ended_);
  return true;
}

// A line that is left over would be taken for the next answer's.
void PersistentProgram::require_silence() {
  running_->exchange.read_rest();
  const std::string output = running_->exchange.take();
  if (output.empty()) return;
  throw std::runtime_error(fmt::format("printed `{}` without being asked",
                                       printable(output.substr(0, output.find('\n')))));
}

std::optional<std::vector<double>> PersistentProgram::converse(const std::string& lines,
                                                               size_t count) {
  Exchange& exchange = running_->exchange;
  require_silence();
  if (has_ended()) return std::nullopt;
  const auto begin = SteadyClock::now();
  exchange.set_limit(longest_reply(count));
  exchange.send(lines, /*closes=*/false);
  while (lines_in(exchange.output()) < count) {
    if (has_ended()) {
      exchange.read_rest();
      if (lines_in(exchange.output()) < count) return std::nullopt;
      break;
    }
    if (SteadyClock::now() - begin > std::chrono::duration<double>(limits_.seconds)) {
      throw std::runtime_error(fmt::format(
          "gave {} of {} scores within {} s (timeout_seconds); a persistent program answers each "
          "line with one, and flushes it (Python: print(score, flush=True))",
          lines_in(exchange.output()), count, limits_.seconds));
    }
    exchange.go_on(exchange.reads() ? kLookMilliseconds : kLookForEndMilliseconds);
  }
  exchange.go_on(kSettleMilliseconds);
  return scores_in(exchange.take(), count);
}

std::vector<double> PersistentProgram::ask(const std::string& lines, size_t count) {
  const NoPipeSignal no_signal;
  try {
    if (!running_) start();
    while (true) {
      if (auto scores = converse(lines, count)) return std::move(*scores);
      if (restarts_ == limits_.max_restarts) {
        throw std::runtime_error(fmt::format(
            "{} before it had answered, after {} restarts (max_restarts)", ended_, restarts_));
      }
      ++restarts_;
      running_.reset();
      start();
    }
  } catch (...) {
    running_.reset();
    throw;
  }
}

}  // namespace leash
