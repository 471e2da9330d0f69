// What launchers say in the environment.
#include "rl/distributed/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "models/errors.h"

namespace leash {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Launch launch_of(const Variables& variables) {
  return read_launch([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

std::string problems_of(const Variables& variables) {
  try {
    launch_of(variables);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Launch, WithoutALauncherThereIsOneProcess) {
  const Launch launch = launch_of({{"SLURM_NTASKS", "8"}, {"MASTER_ADDR", "elsewhere"}});
  EXPECT_EQ(launch.rank, 0);
  EXPECT_EQ(launch.size, 1);
}

TEST(Launch, Torchrun) {
  const Launch launch = launch_of({{"RANK", "3"},
                                   {"WORLD_SIZE", "8"},
                                   {"LOCAL_RANK", "1"},
                                   {"LOCAL_WORLD_SIZE", "2"},
                                   {"MASTER_ADDR", "node1"},
                                   {"MASTER_PORT", "1234"},
                                   {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                   {"TORCHELASTIC_RESTART_COUNT", "2"},
                                   {"SLURM_PROCID", "0"},
                                   {"SLURM_NTASKS", "1"}});
  EXPECT_EQ(launch.rank, 3);
  EXPECT_EQ(launch.size, 8);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_size, 2);
  EXPECT_EQ(launch.address, "node1");
  EXPECT_EQ(launch.port, 1234);
  EXPECT_TRUE(launch.store_is_there);
  EXPECT_EQ(launch.attempt, "2");
}

TEST(Launch, SlurmMeetsAtTheFirstHost) {
  const Launch launch = launch_of({{"SLURM_PROCID", "5"},
                                   {"SLURM_NTASKS", "6"},
                                   {"SLURM_LOCALID", "2"},
                                   {"SLURM_JOB_NODELIST", "gpu[07-08,12],login"},
                                   {"SLURM_JOB_ID", "1040007"}});
  EXPECT_EQ(launch.local_size, 1);
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.size, 6);
  EXPECT_EQ(launch.local_rank, 2);
  EXPECT_EQ(launch.address, "gpu07");
  EXPECT_EQ(launch.port, 20007);
  EXPECT_FALSE(launch.store_is_there);
}

TEST(Launch, SlurmSaysHowManyTasksANodeHas) {
  const auto on = [](const char* node, const char* tasks) {
    return launch_of({{"SLURM_PROCID", "0"},
                      {"SLURM_NTASKS", "9"},
                      {"MASTER_ADDR", "x"},
                      {"SLURM_NODEID", node},
                      {"SLURM_STEP_TASKS_PER_NODE", tasks}})
        .local_size;
  };
  EXPECT_EQ(on("0", "9"), 9);
  EXPECT_EQ(on("1", "4(x2),1"), 4);
  EXPECT_EQ(on("2", "4(x2),1"), 1);
  EXPECT_EQ(on("3", "4(x2),1"), 1);  // SLURM does not say
  EXPECT_EQ(on("0", "nonsense"), 1);
}

TEST(Launch, OpenMpi) {
  const Variables two_machines = {{"OMPI_COMM_WORLD_RANK", "1"},
                                  {"OMPI_COMM_WORLD_SIZE", "4"},
                                  {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                  {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  EXPECT_THAT(problems_of(two_machines), HasSubstr("MASTER_ADDR is not set"));
  Variables one_machine = two_machines;
  one_machine["OMPI_COMM_WORLD_LOCAL_SIZE"] = "4";
  EXPECT_EQ(launch_of(one_machine).address, "127.0.0.1");
  EXPECT_EQ(launch_of(one_machine).port, 29500);
  one_machine["MASTER_PORT"] = "31000";
  EXPECT_EQ(launch_of(one_machine).port, 31000);
}

TEST(Launch, AllProblemsAreNamedTogether) {
  const std::string problems =
      problems_of({{"RANK", "x"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "-1"}});
  for (const char* part :
       {"RANK: 'x'", "LOCAL_RANK: '-1'", "MASTER_ADDR is not set", "MASTER_PORT is not set"}) {
    EXPECT_THAT(problems, HasSubstr(part));
  }
  EXPECT_THAT(problems_of({{"RANK", "1"}}), HasSubstr("WORLD_SIZE is not set, but RANK is"));
  EXPECT_THAT(
      problems_of(
          {{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}}),
      ::testing::AllOf(HasSubstr("RANK: 2 is not below WORLD_SIZE (2)"),
                       HasSubstr("MASTER_PORT: '70000'")));
  EXPECT_THAT(problems_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}}),
              HasSubstr("neither MASTER_ADDR nor SLURM_JOB_NODELIST is set"));
}

TEST(Launch, FirstHostOfANodeList) {
  EXPECT_EQ(first_host("a"), "a");
  EXPECT_EQ(first_host("a,b[1-2]"), "a");
  EXPECT_EQ(first_host("node[003-007,9],x"), "node003");
  EXPECT_EQ(first_host("node[12]"), "node12");
  EXPECT_EQ(first_host("node[1,2]-ib,x"), "node1-ib");
  EXPECT_EQ(first_host("node[1"), "node");
  EXPECT_EQ(first_host(""), "");
}

TEST(Launch, NcclNeedsABuildWithIt) {
#ifndef LEASH_NCCL
  const Launch launch{.size = 2, .address = "127.0.0.1", .port = 1};
  EXPECT_THROW((void)make_communicator(CommunicationBackend::nccl, 1, launch), ConfigError);
#endif
  EXPECT_EQ(make_communicator(CommunicationBackend::nccl, 1, {})->size(), 1);
}

}  // namespace
}  // namespace leash
