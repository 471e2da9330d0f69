#include "models/lora/adapter_rows.h"

namespace leash {

AdapterRows::AdapterRows(const Adapter* adapter) {
  if (adapter != nullptr) ranges.push_back({.adapter = adapter, .num_rows = -1});
}

}  // namespace leash
