// LibTorch's RecordFunction hooks, with a stack per thread so that an operator's own time is known.
#include "models/device/op_profile.h"

#include <ATen/record_function.h>
#include <c10/util/Exception.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace leash {
namespace {

using Clock = std::chrono::steady_clock;

struct Call : at::ObserverContext {
  Clock::time_point begin = Clock::now();
  double seconds_of_callees = 0;
  Call* caller = nullptr;
};

struct Shared {
  std::mutex mutex;
  OpCosts costs;
  std::optional<at::CallbackHandle> handle;
};

Shared& shared() {
  static Shared instance;
  return instance;
}

thread_local Call* innermost = nullptr;

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& /*function*/) {
  auto call = std::make_unique<Call>();
  call->caller = std::exchange(innermost, call.get());
  return call;
}

void leave(const at::RecordFunction& function, at::ObserverContext* context) {
  auto* call = static_cast<Call*>(context);
  const double seconds = std::chrono::duration<double>(Clock::now() - call->begin).count();
  innermost = call->caller;
  if (innermost != nullptr) innermost->seconds_of_callees += seconds;
  const std::lock_guard lock(shared().mutex);
  OpCost& cost = shared().costs[function.name()];
  ++cost.calls;
  cost.seconds += seconds - call->seconds_of_callees;
}

}  // namespace

OpProfile::OpProfile() {
  TORCH_CHECK(!shared().handle, "there is an OpProfile already");
  const std::lock_guard lock(shared().mutex);
  shared().costs.clear();
  shared().handle = at::addGlobalCallback(
      at::RecordFunctionCallback(enter, leave)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION,
                   at::RecordScope::USER_SCOPE}));
}

OpProfile::~OpProfile() {
  at::removeCallback(*shared().handle);
  shared().handle.reset();
}

OpCosts OpProfile::take() {
  const std::lock_guard lock(shared().mutex);
  return std::exchange(shared().costs, {});
}

}  // namespace leash
