// What a failed allocation becomes.
#include "models/device/out_of_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leash {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kFromTorch =
    "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 1.02 GiB is free. Including non-PyTorch memory, this process has 78.09 GiB memory in "
    "use. If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF=...";

TEST(OutOfMemory, NamesTheRequestTheHoldersAndTheSettings) {
  try {
    explaining_memory(
        "sampling",
        [] {
          return std::vector<MemoryUse>{{"base of policy and reference", "cuda:0", 3 << 20},
                                        {"reward model", "cuda:1", 5000},
                                        {"critic", "cuda:0", 0},
                                        {"policy's adapter", "cuda:0", 100}};
        },
        [] {
          return std::vector<std::string>{"rollout.max_batch (64)", "rollout.response_length"};
        },
        []() -> int {
          throw c10::OutOfMemoryError({__func__, __FILE__, 1}, kFromTorch);
        });
    FAIL();
  } catch (const OutOfMemory& error) {
    const std::string text = error.what();
    EXPECT_THAT(text, HasSubstr("out of memory while sampling: 1.50 GiB were asked for\n"));
    EXPECT_THAT(text, HasSubstr("in use on cuda:0: base of policy and reference 3.00 MiB, policy's "
                                "adapter 100 bytes\n"));
    EXPECT_THAT(text, HasSubstr("in use on cuda:1: reward model 4.88 KiB\n"));
    EXPECT_THAT(text, HasSubstr("lower rollout.max_batch (64), or rollout.response_length\n"));
    EXPECT_THAT(text, HasSubstr("1.02 GiB is free"));
    EXPECT_THAT(text, Not(HasSubstr("PYTORCH_ALLOC_CONF")));
  }
}

TEST(OutOfMemory, OtherErrorsPass) {
  const auto nothing = [] { return std::vector<MemoryUse>{}; };
  const auto none = [] { return std::vector<std::string>{}; };
  EXPECT_EQ(explaining_memory("adding", nothing, none, [] { return 5; }), 5);
  EXPECT_THROW(explaining_memory("adding", nothing, none,
                                 []() -> int { throw std::invalid_argument("other"); }),
               std::invalid_argument);
}

}  // namespace
}  // namespace leash
