// Tests whose work is done by several ranks. A part is a disabled test of the suite RankPart; the
// test that needs it starts its own binary again, once per rank, with the part's filter.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "rl/distributed/launch.h"
#include "tests/support/ranks.h"

namespace leash::testing {

inline std::vector<std::string> part_command(const std::string& part) {
  return {std::filesystem::read_symlink("/proc/self/exe").string(),
          "--gtest_filter=RankPart." + part, "--gtest_also_run_disabled_tests"};
}

inline Ranks start_parts(const std::string& part, int64_t size) {
  return Ranks(part_command(part), size, {.timeout_seconds = 120});
}

inline void expect_all_pass(Ranks ranks) {
  for (const Ended& ended : ranks.wait()) EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
}

// Inside a part: the communicator with the others.
inline std::unique_ptr<Communicator> connect(int64_t timeout_seconds = 60) {
  return make_communicator(CommunicationBackend::gloo, timeout_seconds,
                           read_launch(process_environment()));
}

}  // namespace leash::testing
