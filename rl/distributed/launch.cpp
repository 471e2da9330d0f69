#include "rl/distributed/launch.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <regex>
#include <vector>

#include "models/errors.h"
#include "rl/distributed/c10d_communicator.h"

namespace leash {
namespace {

// Reads numbers out of the environment and collects what is wrong with them.
class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  std::optional<std::string> text(const char* name) const { return environment_(name); }

  std::optional<int64_t> number(const char* name, int64_t least, int64_t most) {
    const auto written = environment_(name);
    if (!written) return std::nullopt;
    int64_t value = 0;
    const char* end = written->data() + written->size();
    const auto [stop, error] = std::from_chars(written->data(), end, value);
    if (error == std::errc() && stop == end && value >= least && value <= most) return value;
    problem(
        fmt::format("{}: '{}' is not a whole number from {} to {}", name, *written, least, most));
    return std::nullopt;
  }

  int64_t required(const char* name, int64_t least, int64_t most, const char* because) {
    if (!environment_(name)) problem(fmt::format("{} is not set, but {} is", name, because));
    return number(name, least, most).value_or(least);
  }

  void problem(const std::string& what) { problems_ += (problems_.empty() ? "" : "\n") + what; }
  void check() const {
    if (!problems_.empty()) throw ConfigError(problems_);
  }

 private:
  const Environment& environment_;
  std::string problems_;
};

constexpr int64_t kMostRanks = 1 << 20;
constexpr int64_t kMostPorts = 65535;

// Variable names of one launcher.
struct Names {
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;
};
constexpr Names kTorchrun{"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kOpenMpi{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                         "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kSlurm{"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"};

// Tasks of node `node` in SLURM's "4(x2),1": four on each of two nodes, then one. nullopt where the
// text says nothing about it.
std::optional<int64_t> tasks_of_node(const std::string& text, int64_t node) {
  static const std::regex kPart(R"((\d{1,7})(?:\(x(\d{1,7})\))?(?:,|$))");
  for (std::sregex_iterator part(text.begin(), text.end(), kPart), end; part != end; ++part) {
    node -= (*part)[2].matched ? std::stoll((*part)[2]) : 1;
    if (node < 0) return std::stoll((*part)[1]);
  }
  return std::nullopt;
}

Launch read_ranks(Reader& reader, const Names& names) {
  Launch launch;
  launch.rank = reader.required(names.rank, 0, kMostRanks, names.size);
  launch.size = reader.required(names.size, 1, kMostRanks, names.rank);
  launch.local_rank = reader.number(names.local_rank, 0, kMostRanks).value_or(0);
  launch.local_size = reader.number(names.local_size, 1, kMostRanks).value_or(1);
  if (launch.rank >= launch.size && reader.text(names.rank) && reader.text(names.size)) {
    reader.problem(fmt::format("{}: {} is not below {} ({})", names.rank, launch.rank, names.size,
                               launch.size));
  }
  return launch;
}

// Where rank 0 is to be found, if the user or torchrun says it.
void read_meeting_place(Reader& reader, Launch& launch) {
  launch.address = reader.text("MASTER_ADDR").value_or("");
  launch.port = reader.number("MASTER_PORT", 1, kMostPorts).value_or(0);
}

Launch from_torchrun(Reader& reader) {
  Launch launch = read_ranks(reader, kTorchrun);
  if (launch.size == 1) return launch;
  read_meeting_place(reader, launch);
  if (launch.address.empty()) reader.problem("MASTER_ADDR is not set, but WORLD_SIZE is");
  if (!reader.text("MASTER_PORT")) reader.problem("MASTER_PORT is not set, but WORLD_SIZE is");
  launch.store_is_there = reader.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  launch.attempt = reader.text("TORCHELASTIC_RESTART_COUNT").value_or("0");
  return launch;
}

Launch from_open_mpi(Reader& reader) {
  Launch launch = read_ranks(reader, kOpenMpi);
  if (launch.size == 1) return launch;
  read_meeting_place(reader, launch);
  if (launch.address.empty()) {
    if (launch.local_size != launch.size) {
      reader.problem(
          "MASTER_ADDR is not set, and mpirun does not say where rank 0 runs (mpirun -x "
          "MASTER_ADDR=HOST …)");
    }
    launch.address = "127.0.0.1";
  }
  if (launch.port == 0) launch.port = 29500;
  return launch;
}

Launch from_slurm(Reader& reader) {
  Launch launch = read_ranks(reader, kSlurm);
  if (launch.size == 1) return launch;
  if (!reader.text(kSlurm.local_size)) {  // set only with --ntasks-per-node
    const auto tasks = reader.text("SLURM_STEP_TASKS_PER_NODE");
    const auto node = reader.number("SLURM_NODEID", 0, kMostRanks);
    if (tasks && node) launch.local_size = tasks_of_node(*tasks, *node).value_or(1);
  }
  read_meeting_place(reader, launch);
  if (launch.address.empty()) {
    const auto nodes = reader.text("SLURM_JOB_NODELIST");
    if (!nodes) reader.problem("neither MASTER_ADDR nor SLURM_JOB_NODELIST is set");
    launch.address = first_host(nodes.value_or(""));
  }
  if (launch.port == 0) {
    const auto job = reader.number("SLURM_JOB_ID", 0, INT64_MAX);
    launch.port = 20000 + job.value_or(0) % 40000;
  }
  return launch;
}

bool says_something(const Reader& reader, const Names& names) {
  return reader.text(names.rank) || reader.text(names.size);
}

}  // namespace

Environment process_environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

Launch read_launch(const Environment& environment) {
  Reader reader(environment);
  Launch launch;
  if (says_something(reader, kTorchrun)) {
    launch = from_torchrun(reader);
  } else if (says_something(reader, kOpenMpi)) {
    launch = from_open_mpi(reader);
  } else if (reader.text(kSlurm.rank)) {  // SLURM_NTASKS alone: a shell within an allocation
    launch = from_slurm(reader);
  }
  reader.check();
  return launch;
}

std::string first_host(const std::string& node_list) {
  const std::string host = node_list.substr(0, node_list.find_first_of(",["));
  const size_t open = node_list.find('[');
  if (open != host.size()) return host;
  const size_t end = node_list.find_first_of(",-]", open);
  if (end == std::string::npos) return host;
  const size_t close = node_list.find(']', open);
  if (close == std::string::npos) return host;
  const size_t next = node_list.find_first_of(",[", close);
  return host + node_list.substr(open + 1, end - open - 1) +
         node_list.substr(close + 1, next - close - 1);
}

std::unique_ptr<Communicator> make_communicator(CommunicationBackend backend,
                                                int64_t timeout_seconds, const Launch& launch,
                                                int64_t meeting_seconds) {
  if (launch.size == 1) return single_communicator();
#ifndef LEASH_NCCL
  if (backend == CommunicationBackend::nccl) {
    throw ConfigError("run.ddp_backend: nccl needs a build with CUDA and NCCL (`make cuda`)");
  }
#endif
  return meet(backend, launch, meeting_seconds, timeout_seconds);
}

}  // namespace leash
