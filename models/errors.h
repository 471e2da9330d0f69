// Errors the user can act on. Shapes and programmer mistakes use TORCH_CHECK;
// absence is std::optional.
#pragma once

#include <stdexcept>
#include <string>

namespace leash {

// A file from outside (model, tokenizer, adapter, data) is missing, damaged, or of a kind that is
// not supported. The message names the file, the place (byte offset, line or tensor) and what to
// do. The command line exits with 3.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A setting is wrong, or contradicts another. The message holds all problems, one per line. The
// command line exits with 2.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A logit, loss or gradient is NaN or infinite: a weight is, or the model diverged. What the step
// computed was not applied.
class NonFinite : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace leash
