// One copy of a frozen model for all who load it: a decoder is const, and what differs between runs
// are the adapters that are handed to its passes.
#pragma once

#include <functional>
#include <memory>

#include "models/decoder/decoder.h"

namespace leash {

// As long as one lives, Decoder::load of the same file with the same options (dtype, quantisation,
// device) gives the decoder that was loaded first, in this whole process. It keeps them. One at a
// time. Sharded weights belong to one run and are never shared.
class SharedDecoders {
 public:
  SharedDecoders();
  ~SharedDecoders();
  SharedDecoders(const SharedDecoders&) = delete;
  SharedDecoders& operator=(const SharedDecoders&) = delete;

  // What Decoder::load asks: `load` itself where nothing is shared. Safe from several threads; each
  // model is loaded once.
  using Load = std::function<std::shared_ptr<const Decoder>()>;
  static std::shared_ptr<const Decoder> get(const Checkpoint& checkpoint,
                                            const LoadOptions& options, const Load& load);
};

}  // namespace leash
