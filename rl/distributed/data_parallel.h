// Whether the trained parameters of all ranks are one and the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "rl/distributed/communicator.h"

namespace leash {

// Throws CommunicationError that names the ranks whose parameters are not bit for bit those of rank
// 0 (a 64-bit digest is compared). `when` begins the message: "after step 10".
void require_equal_parameters(Communicator& communicator, const std::vector<at::Tensor>& parameters,
                              const std::string& when);

}  // namespace leash
