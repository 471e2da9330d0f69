// What a rendering may cost. Templates come from outside, so that everything that one can make
// large or deep is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace leash::jinja {

// What goes wrong inside a template; Template turns it into an error with the line.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
// What a template says by raise_exception.
class Raised : public Failure {
 public:
  using Failure::Failure;
};

class Budget {
 public:
  // One step is about a node of the template, an entry of a list or kBytes of text: two seconds on
  // a slow core, some hundreds of MiB. Real conversations take thousands.
  static constexpr int64_t kSteps = 6'000'000;
  static constexpr int64_t kBytes = 64;
  // Of expressions, blocks and macros inside each other; Python's own limit is alike.
  static constexpr int kDepth = 900;
  // Of lists inside lists.
  static constexpr int kNesting = 100;

  void charge(int64_t steps) {
    steps_ -= steps;
    if (steps_ < 0 || steps > kSteps) throw Failure("the template takes too many steps");
  }
  void charge_bytes(size_t bytes) { charge(static_cast<int64_t>(bytes) / kBytes + 1); }
  void enter() {
    charge(1);
    if (++depth_ > kDepth) {
      --depth_;
      throw Failure("the template is nested too deeply");
    }
  }
  void leave() { --depth_; }

 private:
  int64_t steps_ = kSteps;
  int depth_ = 0;
};

class Deeper {
 public:
  explicit Deeper(Budget& budget) : budget_(budget) { budget_.enter(); }
  ~Deeper() { budget_.leave(); }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  Budget& budget_;
};

}  // namespace leash::jinja
