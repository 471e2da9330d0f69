// The built binary as the loader sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/process.h"

namespace leash::testing {
namespace {

// LibTorch's libtorch.so has pieces of another libstdc++ in it, whose remove_all calls address 0:
// whoever is searched first wins.
TEST(Binary, FindsItsOwnStandardLibraryFirst) {
  const Ended read = Process({"/usr/bin/readelf", "-d", LEASH_BINARY}).wait();
  ASSERT_EQ(read.code, 0) << read.err;
  const size_t first = read.out.find('[', read.out.find("(NEEDED)"));
  ASSERT_NE(first, std::string::npos) << read.out;
  EXPECT_THAT(read.out.substr(first + 1), ::testing::StartsWith("libstdc++.so"));
}

}  // namespace
}  // namespace leash::testing
