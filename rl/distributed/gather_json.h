// Lists of JSON values from all ranks.
#pragma once

#include <nlohmann/json.hpp>

#include "rl/distributed/communicator.h"

namespace leash {

// The entries of all ranks' lists, in the order of the ranks. They travel as CBOR, which keeps
// every double as it is.
inline nlohmann::json gather_json(Communicator& communicator, const nlohmann::json& own) {
  std::string bytes;
  nlohmann::json::to_cbor(own, bytes);
  auto all = nlohmann::json::array();
  for (const std::string& received : communicator.all_gather(bytes)) {
    for (auto& entry : nlohmann::json::from_cbor(received)) all.push_back(std::move(entry));
  }
  return all;
}

}  // namespace leash
