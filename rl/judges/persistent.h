// A program of the user's that is started once and asked line by line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rl/judges/exchange.h"
#include "rl/judges/process_group.h"

namespace leash {

struct PersistentLimits {
  double seconds = 600;      // of one batch
  int64_t max_restarts = 3;  // of a program that ends, in all
};

// Runs a command as run_program does, but lets it live until this goes: then its input is closed,
// and what has not ended two seconds later is killed with all that it started. Not for several
// threads at once.
class PersistentProgram {
 public:
  PersistentProgram(std::string command, const PersistentLimits& limits, ProgramPlace place);
  ~PersistentProgram();
  PersistentProgram(const PersistentProgram&) = delete;
  PersistentProgram& operator=(const PersistentProgram&) = delete;

  // Sends the lines (each with its line break) and returns a score for each, in their order; see
  // parse_score. A program that has ended is started again and asked for the whole batch, at most
  // max_restarts times. std::runtime_error for more than that, for what is no score, for a line too
  // many or one that nobody asked for, for one that is stopped and for a batch that takes too long:
  // it is killed, and the next call starts it anew.
  std::vector<double> ask(const std::string& lines, size_t count);

  // Where it is started the next time.
  void set_place(ProgramPlace place) { place_ = std::move(place); }
  int64_t restarts() const { return restarts_; }

 private:
  struct Running;

  void start();
  void require_silence();
  // None where the program ended before it had answered; says how in ended_.
  std::optional<std::vector<double>> converse(const std::string& lines, size_t count);
  bool has_ended();

  std::string command_;
  PersistentLimits limits_;
  ProgramPlace place_;
  std::unique_ptr<Running> running_;
  std::string ended_;
  int64_t restarts_ = 0;
};

}  // namespace leash
