// What differs between kinds of tokenizers: how text without added tokens becomes ids.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace leash {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of `text`, which is valid UTF-8 and already normalised.
  virtual void encode(std::string_view text, std::vector<int64_t>& ids) const = 0;
};

}  // namespace leash
