// The built binary as the loader sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "tests/support/process.h"

namespace leash::testing {
namespace {

// LibTorch's libtorch.so has pieces of another libstdc++ in it, whose remove_all calls address 0:
// whoever is searched first wins.
TEST(Binary, FindsItsOwnStandardLibraryFirst) {
  const Ended read = Process({"/usr/bin/readelf", "-d", LEASH_BINARY}).wait();
  ASSERT_EQ(read.code, 0) << read.err;
  std::smatch first;
  ASSERT_TRUE(std::regex_search(read.out, first, std::regex("NEEDED.*\\[(.*)\\]")));
  EXPECT_THAT(first[1].str(), ::testing::StartsWith("libstdc++.so"));
}

}  // namespace
}  // namespace leash::testing
