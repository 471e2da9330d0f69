// What goes to a program and what comes back, as far as either side is ready.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "rl/judges/process_group.h"

namespace leash {

class Exchange {
 public:
  // std::runtime_error from reading more than `limit` bytes that were not taken.
  explicit Exchange(size_t limit);

  // Text that is still to be written; it outlives the sending. `closes`: the program's input ends
  // behind it.
  void send(std::string_view input, bool closes);
  void set_limit(size_t limit) { limit_ = limit; }

  // Waits for this long at most.
  void go_on(int milliseconds);
  // What the program printed so far. A child that it left behind may keep the pipe open.
  void read_rest();
  bool reads() const { return from.read->get() >= 0; }
  const std::string& output() const { return output_; }
  std::string take() { return std::exchange(output_, {}); }

  Pipe to, from;

 private:
  void write_some();
  bool read_some();

  std::string_view rest_;
  bool closes_ = false;
  size_t limit_;
  std::string output_;
};

// Milliseconds between two looks at whether a program has ended; once it has closed its output,
// that is all there is to wait for.
inline constexpr int kLookMilliseconds = 20;
inline constexpr int kLookForEndMilliseconds = 1;

}  // namespace leash
