#include "rl/distributed/data_parallel.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace leash {
namespace {

// FNV-1a over 8 bytes at a time.
uint64_t digest(const std::vector<at::Tensor>& tensors) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor bytes = tensor.detach().cpu().contiguous();
    const auto* data = static_cast<const unsigned char*>(bytes.const_data_ptr());
    const size_t size = bytes.nbytes();
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, data + i, std::min(sizeof(word), size - i));
      hash = (hash ^ word) * 0x100000001b3u;
      hash ^= hash >> 32;
    }
  }
  return hash;
}

}  // namespace

void require_equal_parameters(Communicator& communicator, const std::vector<at::Tensor>& parameters,
                              const std::string& when) {
  const auto digests = communicator.all_gather(std::to_string(digest(parameters)));
  std::vector<size_t> others;
  for (size_t rank = 1; rank < digests.size(); ++rank) {
    if (digests[rank] != digests[0]) others.push_back(rank);
  }
  if (others.empty()) return;
  throw CommunicationError(
      fmt::format("{} the trained parameters of rank {} differ from those of rank 0: the ranks do "
                  "not train one model (have all the same model, build and kind of processor?)",
                  when, fmt::join(others, ", ")));
}

}  // namespace leash
