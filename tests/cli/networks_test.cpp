// leash train with ranks on different networks: what the ranks of one machine do, bit for bit.
#include <algorithm>
#include <csignal>

#include "tests/cli/run_workspace.h"
#include "tests/support/ranks.h"
#include "tests/support/two_networks.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Where a rank runs, and where it is told to find rank 0.
struct Place {
  int64_t network = 0;
  std::string first;
};

class Networks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!networks.missing().empty()) GTEST_SKIP() << networks.missing();
  }

  // Waits that cannot end are over after `timeout` seconds.
  Lines args(const std::string& folder, const std::string& timeout = "60") const {
    return work.train_args(folder, {"--set", "run.ddp_timeout=" + timeout});
  }

  std::unique_ptr<Process> start(const std::vector<Place>& places, int64_t rank,
                                 const Lines& args) const {
    const auto size = static_cast<int64_t>(places.size());
    auto environment = rank_environment(rank, size, /*port=*/29500);
    environment["MASTER_ADDR"] = places[rank].first;
    const auto here = std::ranges::count(places, places[rank].network, &Place::network);
    environment["LOCAL_WORLD_SIZE"] = std::to_string(here);
    return std::make_unique<Process>(
        networks.inside(places[rank].network, leash_command(args)),
        ProcessOptions{.environment = environment, .timeout_seconds = 300});
  }

  void train(const std::string& folder, const std::vector<Place>& places) const {
    std::vector<std::unique_ptr<Process>> ranks;
    for (size_t i = 0; i < places.size(); ++i) {
      ranks.push_back(start(places, static_cast<int64_t>(i), args(folder)));
    }
    for (const auto& rank : ranks) expect_done(rank->wait());
  }

  void train_on_one_machine(const std::string& folder, int64_t size) const {
    Ranks ranks(leash_command(args(folder)), size, {.timeout_seconds = 300});
    for (const Ended& ended : ranks.wait()) expect_done(ended);
  }

  const RunWorkspace work;
  const TwoNetworks networks;
};

TEST_F(Networks, TwoRanksThatOnlyKnowTheFirstOnesAddress) {
  train_on_one_machine("one", 2);
  const std::string first = TwoNetworks::address(0);
  train("two", {{.network = 0, .first = first}, {.network = 1, .first = first}});
  work.expect_equal_runs("one", "two");
  EXPECT_GT(networks.received_bytes(0), 100'000);
  EXPECT_GT(networks.received_bytes(1), 100'000);
}

// As where rank 0's own name is 127.0.1.1 to its machine: ranks 0 and 1 share that one.
TEST_F(Networks, AFirstRankWhoseOwnAddressIsALoopbackToIt) {
  train_on_one_machine("one", 3);
  train("two", {{.network = 0, .first = "127.0.1.1"},
                {.network = 0, .first = "127.0.1.1"},
                {.network = 1, .first = TwoNetworks::address(0)}});
  work.expect_equal_runs("one", "two");
}

// The same ranks at work: no machine elsewhere could reach one that listens at a loopback address.
// (Whether that rank is ever called, or calls the others itself, is left to Gloo.)
TEST_F(Networks, NoRankListensWhereOthersCannotReachIt) {
  const std::vector<Place> places = {{.network = 0, .first = "127.0.1.1"},
                                     {.network = 0, .first = "127.0.1.1"},
                                     {.network = 1, .first = TwoNetworks::address(0)}};
  Lines endless = args("listening");
  endless.insert(endless.end(), {"--set", "ppo.total_episodes=80000"});
  std::vector<std::unique_ptr<Process>> ranks;
  for (int64_t rank = 0; rank < 3; ++rank) ranks.push_back(start(places, rank, endless));
  // With the mistake that this test is for, Gloo may fail to connect them.
  (void)ranks[0]->wait_until([&] { return work.steps_written("listening") >= 1; });
  Process sockets(
      networks.inside(0, {"/bin/sh", "-c", "PATH=/usr/bin:/bin:/usr/sbin:/sbin ss -Hltn"}));
  const Ended listening = sockets.wait();
  for (const auto& rank : ranks) rank->signal(SIGKILL);
  for (const auto& rank : ranks) (void)rank->wait();
  ASSERT_EQ(listening.code, 0) << listening.err;
  EXPECT_THAT(listening.out, HasSubstr(TwoNetworks::address(0) + ":"));
  EXPECT_THAT(listening.out, Not(HasSubstr("127.0."))) << listening.out;
}

// The network goes, and both processes live: the waits end after run.ddp_timeout (seen: 45 s, most
// of it the patience of the watches with each other).
TEST_F(Networks, ACutCableEndsBothRanks) {
  const std::string first = TwoNetworks::address(0);
  const std::vector<Place> places = {{.network = 0, .first = first},
                                     {.network = 1, .first = first}};
  Lines endless = args("cut", "5");
  endless.insert(endless.end(), {"--set", "ppo.total_episodes=80000"});
  const auto leader = start(places, 0, endless), other = start(places, 1, endless);
  ASSERT_TRUE(leader->wait_until([&] { return work.steps_written("cut") >= 2; }));
  Process cut(
      networks.inside(1, {"/bin/sh", "-c", "PATH=/usr/sbin:/sbin:$PATH ip link set card down"}));
  ASSERT_EQ(cut.wait().code, 0);
  const auto begun = std::chrono::steady_clock::now();
  const Ended ended = leader->wait();
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("rank 1"));
  EXPECT_EQ(other->wait().code, 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(120));
}

}  // namespace
}  // namespace leash::testing
