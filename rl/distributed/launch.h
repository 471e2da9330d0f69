// How many processes a run has and which one this is, as torchrun, mpirun (Open MPI) or srun
// (SLURM) say it in the environment; and the communicator between them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "models/fields.h"
#include "rl/distributed/communicator.h"

namespace leash {

enum class CommunicationBackend { gloo, nccl };
template <>
struct EnumNames<CommunicationBackend> {
  static constexpr std::pair<CommunicationBackend, std::string_view> values[] = {
      {CommunicationBackend::gloo, "gloo"}, {CommunicationBackend::nccl, "nccl"}};
};

// Ranks that a launcher starts together are there within seconds; a machine that was asleep, or an
// image that has to be fetched, may take a minute.
inline constexpr int64_t kMeetingSeconds = 120;

struct Launch {
  int64_t rank = 0;
  int64_t size = 1;
  int64_t local_rank = 0;  // among the processes of this machine
  int64_t local_size = 1;  // 1 where the launcher does not say
  std::string address;     // of rank 0's machine; empty when size is 1
  int64_t port = 0;
  bool store_is_there = false;  // torchrun's agent serves the key-value store at address:port
  std::string attempt = "0";    // torchrun starts workers anew after a failure
};

// A variable of the environment; nullopt where it is not set or empty.
using Environment = std::function<std::optional<std::string>(const char*)>;
Environment process_environment();

// Which launcher speaks: RANK and WORLD_SIZE (torchrun) win over OMPI_COMM_WORLD_… (mpirun), these
// over SLURM_… (srun); without any of them the run has one process. MASTER_ADDR and MASTER_PORT may
// be given to each; without them, mpirun on one machine uses 127.0.0.1:29500 and srun the first
// host of SLURM_JOB_NODELIST with port 20000 + SLURM_JOB_ID % 40000. ConfigError lists all that is
// missing or contradicts itself.
Launch read_launch(const Environment& environment);

// "node[003-007,9],x1" -> "node003".
std::string first_host(const std::string& node_list);

// Meets the other processes, within `meeting_seconds`; a run of one process needs none. Waits of
// all kinds end after `timeout_seconds`. ConfigError when this build lacks the backend;
// CommunicationError when not all came in time.
std::unique_ptr<Communicator> make_communicator(CommunicationBackend backend,
                                                int64_t timeout_seconds, const Launch& launch,
                                                int64_t meeting_seconds = kMeetingSeconds);

}  // namespace leash
