#include "rl/distributed/communicator.h"

#include <ATen/ops/full.h>

#include "models/device/host_memory.h"
#include "models/weights/gather_queue.h"

namespace leash {
namespace {

struct NothingPending final : PendingSums {
  void wait() override {}
};

class SingleCommunicator final : public Communicator {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  std::unique_ptr<PendingSums> start_all_reduce(const std::vector<at::Tensor>&) override {
    return std::make_unique<NothingPending>();
  }
  std::vector<std::string> all_gather(const std::string& bytes) override { return {bytes}; }
  void report_failure(const std::exception&) noexcept override {}
};

}  // namespace

void Communicator::shard_weights() {
  TORCH_CHECK(gathers_ == nullptr, "weights are sharded once");
  gathers_ = std::make_shared<GatherQueue>(open_gatherer());
  if (size() > 1) return_host_memory();  // gathered blocks come and go all the time
}

std::unique_ptr<WeightGatherer> Communicator::open_gatherer() {
  TORCH_CHECK(size() == 1, "this communicator gathers no weights");
  return lone_gatherer();
}

std::unique_ptr<Communicator> single_communicator() {
  return std::make_unique<SingleCommunicator>();
}

bool any_rank(Communicator& communicator, bool flag) {
  const at::Tensor count = at::full({1}, flag ? 1 : 0, at::kLong);
  communicator.all_reduce_sum({count});
  return count.item<int64_t>() > 0;
}

std::string from_leader(Communicator& communicator, const std::string& bytes) {
  return communicator.all_gather(communicator.leads() ? bytes : std::string()).front();
}

}  // namespace leash
