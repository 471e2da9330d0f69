// A device for tests on machines without a GPU: LibTorch's PrivateUse1 backend over host memory.
//
// What it has in common with a GPU: tensors must be copied to it and back; an operator that gets
// tensors of both sides is refused; its addresses cannot be read by the host, so that a kernel of
// ours that takes the data pointer of such a tensor ends the test with a segmentation fault;
// backward passes run on the autograd engine's thread for the device. Every operator copies its
// arguments to the CPU and its results back, so numbers are the CPU's. It has streams in name: each
// thread has a current one, all work is done at once, and what is asked of streams can be watched.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <vector>

namespace leash::testing {

// "pretend:0". The backend is registered with LibTorch (and its name with at::Device) in every
// program that this is linked into.
at::Device pretend_device();

// Memory in use there, and how much there is from now on (0: as much as the host has): a failed
// allocation is the error that LibTorch throws for a GPU's.
int64_t pretend_memory();
void limit_pretend_memory(int64_t bytes);

// 0 is the default one; the pool's begin with 1000.
c10::Stream pretend_stream(int64_t id);

// What is asked of the device's streams while this lives, by any thread. One at a time.
class PretendStreams {
 public:
  enum class Kind {
    finished,    // a thread waited for the whole stream
    marked,      // an event was recorded on it
    mark_waits,  // a thread began to wait for such an event
    kept,        // memory is kept for it
    noted        // what a test says itself
  };
  struct Call {
    Kind kind = Kind::noted;
    int64_t stream = 0;
    const void* memory = nullptr;  // of `kept`
    bool operator==(const Call&) const = default;
  };
  PretendStreams();
  ~PretendStreams();
  PretendStreams(const PretendStreams&) = delete;
  PretendStreams& operator=(const PretendStreams&) = delete;

  std::vector<Call> calls() const;
  void clear();
  // The calling thread does something on its current stream.
  void note();
  // From now on the device does not come to any mark, until it is let go; then it goes on.
  void hold_marks();
  void let_go();
};

}  // namespace leash::testing
