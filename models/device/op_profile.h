// Where time goes inside LibTorch: calls and time of every operator, and of our own kernels.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace leash {

struct OpCost {
  int64_t calls = 0;
  double seconds = 0;  // on the calling thread, without the operators that it called itself
};
using OpCosts = std::map<std::string, OpCost>;  // "aten::addmm", "leash::packed_product"

// Counts while it lives, on all threads that call operators (the threads inside an operator are
// part of its time). Autograd nodes count as operators under their own names. One at a time
// (TORCH_CHECK). Costs about a third of a microsecond per call.
class OpProfile {
 public:
  OpProfile();
  ~OpProfile();
  OpProfile(const OpProfile&) = delete;
  OpProfile& operator=(const OpProfile&) = delete;

  // What ended since the last take.
  OpCosts take();
};

}  // namespace leash
