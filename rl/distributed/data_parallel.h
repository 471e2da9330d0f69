// What keeps the trained parameters of all ranks one and the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "rl/distributed/communicator.h"

namespace leash {

// Everything that the ranks tell each other in one optimizer step, in one call of all_reduce_sum:
// each parameter's gradient becomes the sum over all ranks (a rank that has none counts as zeros; a
// parameter that has none anywhere keeps none), and so does `table`.
void sum_gradients(Communicator& communicator, const std::vector<at::Tensor>& parameters,
                   const at::Tensor& table);

// [ranks, size] uint8 on the CPU: this rank's row holds its bytes, the others are zeros. Summed
// over all ranks it holds everyone's.
at::Tensor row_of_bytes(const Communicator& communicator, const void* bytes, size_t size);

// sum_gradients, and the `Sums` of all ranks added up in their order, so that every rank gets the
// same bits.
template <class Sums>
Sums sum_over_ranks(Communicator& communicator, const std::vector<at::Tensor>& parameters,
                    const Sums& own) {
  static_assert(std::is_trivially_copyable_v<Sums>);
  const at::Tensor table = row_of_bytes(communicator, &own, sizeof(Sums));
  sum_gradients(communicator, parameters, table);
  Sums total;
  for (int64_t rank = 0; rank < communicator.size(); ++rank) {
    Sums part;
    std::memcpy(&part, table[rank].const_data_ptr(), sizeof(Sums));
    total.add(part);
  }
  return total;
}

// Throws CommunicationError that names the ranks whose parameters are not bit for bit those of rank
// 0 (a 64-bit digest is compared). `when` begins the message: "after step 10".
void require_equal_parameters(Communicator& communicator, const std::vector<at::Tensor>& parameters,
                              const std::string& when);

}  // namespace leash
