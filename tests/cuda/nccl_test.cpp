// NCCL through the Communicator, as far as one GPU goes: a group of one rank.
#ifdef LEASH_NCCL
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "rl/distributed/c10d_communicator.h"
#include "tests/support/cuda_device.h"
#include "tests/support/ranks.h"

namespace leash {
namespace {

TEST(CudaNccl, AGroupOfOneRank) {
  LEASH_NEEDS_GPU();
  const Launch launch{.address = "127.0.0.1", .port = testing::free_port()};
  const auto communicator =
      meet(CommunicationBackend::nccl, launch, /*meeting_seconds=*/60, /*timeout_seconds=*/60);
  const at::Tensor there = at::arange(1000, at::TensorOptions(testing::kGpu).dtype(at::kFloat));
  const at::Tensor here = at::full({3}, 2.5, at::kDouble);
  communicator->all_reduce_sum({there, here});
  EXPECT_TRUE(at::equal(there.cpu(), at::arange(1000, at::kFloat)));
  EXPECT_TRUE(at::equal(here, at::full({3}, 2.5, at::kDouble)));
  EXPECT_EQ(communicator->all_gather("abc"), std::vector<std::string>{"abc"});
  EXPECT_TRUE(any_rank(*communicator, true));
}

}  // namespace
}  // namespace leash
#endif
