// What a lane has on a GPU besides its worker: a stream of its own. On a CPU a lane has none.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace leash {

// The end of one task's work on its stream. Whoever takes the task's result calls arrive, so that
// what it does next on its own stream comes behind that work.
class TaskEnd {
 public:
  virtual ~TaskEnd() = default;
  // On the lane's thread, when the task has given all of its work to the stream.
  virtual void record() = 0;
  // On the thread that takes the result: its current stream waits (the thread does not).
  virtual void arrive() = 0;
  // The same thread uses this memory of the lane's from now on.
  virtual void uses(const at::Tensor& tensor) = 0;
};

class DeviceStream {
 public:
  virtual ~DeviceStream() = default;
  // `task` as it runs on this stream, behind everything that the calling thread has given to its
  // own stream so far. `what` names it for profilers and is a literal.
  virtual std::function<void()> behind_caller(std::string_view what,
                                              std::function<void()> task) = 0;
  virtual std::shared_ptr<TaskEnd> task_end() = 0;
};

// A stream of LibTorch's pool on a GPU, with an NVTX range for every task; nullptr for every other
// device. `urgent`: the pool's high priority.
std::shared_ptr<DeviceStream> device_stream(at::Device device, bool urgent);

// Tensors in a lane's result; other results hold no memory of a device.
template <class Result>
void uses(TaskEnd&, const Result&) {}
inline void uses(TaskEnd& end, const at::Tensor& tensor) {
  if (tensor.defined()) end.uses(tensor);
}
inline void uses(TaskEnd& end, const std::vector<at::Tensor>& tensors) {
  for (const at::Tensor& tensor : tensors) uses(end, tensor);
}

}  // namespace leash
