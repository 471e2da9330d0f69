// What a failed allocation becomes.
#include "models/device/out_of_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <new>
#include <system_error>

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

// The host says it in three ways.
TEST(OutOfMemory, OfTheHostIsExplainedToo) {
  const auto nothing = [] { return std::vector<MemoryUse>{}; };
  const auto lower = [] { return std::vector<std::string>{"micro_batch_tokens (512)"}; };
  const auto explained = [&](const auto& fail) -> std::string {
    try {
      explaining_memory("updating", nothing, lower, [&] {
        fail();
        return 0;
      });
    } catch (const OutOfMemory& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(explained([] {
                TORCH_CHECK(false,
                            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: "
                            "can't allocate memory: you tried to allocate 4096 bytes. Error code "
                            "12 (Cannot allocate memory)");
              }),
              HasSubstr("while updating: 4096 bytes were asked for\n  lower micro_batch_tokens"));
  EXPECT_THAT(explained([] { throw std::bad_alloc(); }), HasSubstr("the host has no memory left"));
  EXPECT_THAT(explained([] { throw std::system_error(EAGAIN, std::generic_category(), "thread"); }),
              HasSubstr("no more threads"));
  EXPECT_EQ(shortage(std::system_error(ENOENT, std::generic_category(), "x")), std::nullopt);
  EXPECT_THAT(shortage_text(*shortage(std::system_error(EAGAIN, std::generic_category(), "x"))),
              HasSubstr("lower --threads"));
  EXPECT_THAT(shortage_text("you tried to allocate 64 bytes."),
              HasSubstr("out of memory (64 bytes were asked for): a smaller model"));
}

}  // namespace
}  // namespace leash
