// What differs between kinds of tokenizers: how a word becomes ids.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace leash {

// Kept between the words of one text, so that their memory and what was found are used again.
class ModelScratch {
 public:
  virtual ~ModelScratch() = default;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Null where the model keeps nothing.
  virtual std::unique_ptr<ModelScratch> scratch() const { return nullptr; }
  // Appends the ids of `word`, which is valid UTF-8, normalised, and not empty. `scratch` is one
  // that this model made.
  virtual void encode(std::string_view word, ModelScratch* scratch,
                      std::vector<int64_t>& ids) const = 0;
};

}  // namespace leash
