// Where the store of a run listens.
#include "rl/distributed/meeting.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sstream>
#include <string>

#include "rl/distributed/communicator.h"
#include "tests/support/rank_parts.h"

namespace leash {
namespace {

using leash::testing::Ended;
using leash::testing::free_port;
using leash::testing::Process;
using ::testing::HasSubstr;

// "127.0.0.1", or "everywhere".
std::string bound_to(const std::string& address, int64_t local_size) {
  const auto listener =
      bound_socket({.size = 2, .local_size = local_size, .address = address, .port = free_port()});
  if (!listener) return "everywhere";
  sockaddr_in own = {};
  socklen_t size = sizeof(own);
  ::getsockname(*listener, reinterpret_cast<sockaddr*>(&own), &size);
  ::close(*listener);
  char text[INET_ADDRSTRLEN] = {};
  ::inet_ntop(own.sin_family, &own.sin_addr, text, sizeof(text));
  return text;
}

TEST(Meeting, TheStoreListensAtItsLoopbackAddressAlone) {
  EXPECT_EQ(bound_to("127.0.0.1", 1), "127.0.0.1");
  EXPECT_EQ(bound_to("127.0.1.1", 2), "127.0.1.1");
  EXPECT_EQ(bound_to("127.0.1.1", 1), "everywhere") << "a host's own name; others come to it";
  EXPECT_EQ(bound_to("192.0.2.1", 1), "everywhere") << "no address of this machine";
  EXPECT_EQ(bound_to("no.such.name.invalid", 1), "everywhere") << "connecting says what is wrong";
}

TEST(Meeting, APortThatIsTakenIsAnError) {
  const Launch launch{.size = 2, .local_size = 2, .address = "127.0.0.1", .port = free_port()};
  const auto first = bound_socket(launch);
  ASSERT_TRUE(first);
  ASSERT_EQ(::listen(*first, 1), 0);
  EXPECT_THROW((void)bound_socket(launch), CommunicationError);
  ::close(*first);
}

TEST(RankPart, DISABLED_MeetPatiently) { (void)testing::connect(/*timeout_seconds=*/13); }

Ended meet_alone(int64_t rank, int64_t size) {
  leash::testing::ProcessOptions options{.timeout_seconds = 60};
  options.environment = leash::testing::rank_environment(rank, size, free_port());
  return Process(leash::testing::part_command("DISABLED_MeetPatiently"), options).wait();
}

TEST(Meeting, WhoWaitsSaysForWhom) {
  const Ended leader = meet_alone(0, 3);
  EXPECT_THAT(leader.err, HasSubstr("leash: rank 0 of 3: waiting for ranks 1, 2 at 127.0.0.1:"));
  EXPECT_THAT(leader.out, HasSubstr("ranks 1, 2 did not come within run.ddp_meeting_timeout"));
  const Ended other = meet_alone(1, 2);
  EXPECT_THAT(other.err, HasSubstr("leash: rank 1 of 2: waiting for rank 0 at 127.0.0.1:"));
  EXPECT_THAT(other.out, HasSubstr("rank 1 of 2 did not meet the others at 127.0.0.1:"));
  for (const Ended& ended : {leader, other}) {
    EXPECT_EQ(ended.code, 1);
    EXPECT_FALSE(ended.timed_out);
  }
}

// All ranks at work: what listens is on the loopback address.
TEST(RankPart, DISABLED_MeetAndListen) {
  const auto communicator = testing::connect();
  if (communicator->leads()) {
    Process sockets({"/bin/sh", "-c", "PATH=/usr/bin:/bin:/usr/sbin:/sbin ss -Hltnp"});
    const Ended listening = sockets.wait();
    const std::string own = "pid=" + std::to_string(::getpid()) + ",";
    size_t ours = 0;
    std::istringstream lines(listening.out);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(own) == std::string::npos) continue;
      ++ours;
      EXPECT_THAT(line, HasSubstr(" 127.0.0.1:"));
    }
    EXPECT_TRUE(listening.code != 0 || ours >= 2) << listening.out;  // the store and Gloo
  }
  communicator->barrier();
}

TEST(Meeting, OnOneMachineNothingListensToOthers) {
  testing::expect_all_pass(testing::start_parts("DISABLED_MeetAndListen", 2));
}

}  // namespace
}  // namespace leash
