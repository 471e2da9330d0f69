#include "models/device.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <thread>

namespace leash {

at::ScalarType scalar_type(DtypeChoice choice) {
  switch (choice) {
    case DtypeChoice::automatic:
    case DtypeChoice::float32:
      return at::kFloat;
    case DtypeChoice::bfloat16:
      return at::kBFloat16;
    case DtypeChoice::float64:
      return at::kDouble;
  }
  TORCH_CHECK(false, "unknown dtype");
}

int64_t set_threads(int64_t threads) {
  const int64_t wanted = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
  at::set_num_threads(static_cast<int>(wanted));
  return wanted;
}

}  // namespace leash
