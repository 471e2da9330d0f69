// Stream order for memory that one thread fills and others read: a device works behind the threads
// that give it work, each stream in its own order. No-op on a CPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace leash {

// Returns when the device has done what the calling thread gave to its current stream there.
void finish_current_stream(c10::Device device);

// The streams that read a piece of memory which was allocated on another one.
class StreamReaders {
 public:
  // The calling thread's current stream reads `memory` [any shape], always the same: when it is
  // freed, the allocator keeps it until that stream is through with what it was given until then.
  void add(const at::Tensor& memory);
  // Marks behind all that these streams have been given so far.
  std::vector<c10::Event> ends() const;

 private:
  std::vector<c10::Stream> streams_;
};

// A thread's own stream on each device, so that what it does there waits for nobody else's work.
class OwnStreams {
 public:
  // `work` with that stream as the current one and `device` as the current device; returns when
  // the device has done it.
  at::Tensor run(c10::Device device, const std::function<at::Tensor()>& work);

 private:
  std::map<std::string, c10::Stream> streams_;  // by the device's name
};

}  // namespace leash
