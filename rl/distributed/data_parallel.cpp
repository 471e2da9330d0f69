#include "rl/distributed/data_parallel.h"

#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

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

void sum_gradients(Communicator& communicator, const std::vector<at::Tensor>& parameters,
                   const at::Tensor& table) {
  const at::Tensor having =
      at::zeros({std::ssize(parameters)}, at::kLong);  // ranks with a gradient
  auto* count = having.mutable_data_ptr<int64_t>();
  std::vector<at::Tensor> sums;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& gradient = parameters[i].grad();
    count[i] = gradient.defined() ? 1 : 0;
    sums.push_back(gradient.defined() ? gradient : at::zeros_like(parameters[i].detach()));
  }
  sums.push_back(having);
  sums.push_back(table);
  communicator.all_reduce_sum(sums);
  for (size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i];
    if (count[i] > 0 && !parameter.grad().defined()) parameter.mutable_grad() = sums[i];
  }
}

at::Tensor row_of_bytes(const Communicator& communicator, const void* bytes, size_t size) {
  at::Tensor table = at::zeros({communicator.size(), static_cast<int64_t>(size)}, at::kByte);
  std::memcpy(table[communicator.rank()].mutable_data_ptr(), bytes, size);
  return table;
}

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
