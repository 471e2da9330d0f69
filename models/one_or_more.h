// A setting that is one value or a list of them: `loss_type: sigmoid`, `loss_type: [sigmoid, sft]`.
#pragma once

#include <vector>

namespace leash {

template <class T>
struct OneOrMore {
  std::vector<T> values{};

  bool operator==(const OneOrMore&) const = default;
};

}  // namespace leash
