// A lane's stream on a GPU. Without CUDA there is none.
#include "rollout/device_stream.h"

#ifdef LEASH_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <nvtx3/nvToolsExt.h>

#include <string>
#include <utility>
#endif

namespace leash {

#ifdef LEASH_CUDA

namespace {

using c10::cuda::CUDAStream;

class CudaTaskEnd final : public TaskEnd {
 public:
  explicit CudaTaskEnd(CUDAStream stream) : stream_(stream) {}
  void record() override { event_.record(stream_); }
  void arrive() override {
    const CUDAStream here = c10::cuda::getCurrentCUDAStream(stream_.device_index());
    if (here != stream_) event_.block(here);
  }
  void uses(const at::Tensor& tensor) override {
    if (!tensor.is_cuda()) return;
    const CUDAStream here = c10::cuda::getCurrentCUDAStream(tensor.device().index());
    if (here != stream_) tensor.record_stream(here);
  }

 private:
  CUDAStream stream_;
  at::cuda::CUDAEvent event_;
};

struct NvtxRange {
  explicit NvtxRange(const std::string& name) { nvtxRangePushA(name.c_str()); }
  ~NvtxRange() { nvtxRangePop(); }
};

class CudaStream final : public DeviceStream {
 public:
  CudaStream(at::Device device, bool urgent)
      : stream_(c10::cuda::getStreamFromPool(urgent, device.index())) {}

  std::function<void()> behind_caller(std::string_view what, std::function<void()> task) override {
    auto given = std::make_shared<at::cuda::CUDAEvent>();
    given->record(c10::cuda::getCurrentCUDAStream(stream_.device_index()));
    // By value: with one worker for all lanes the task may outlive this object.
    return [stream = stream_, given, name = std::string(what), task = std::move(task)] {
      const c10::cuda::CUDAStreamGuard current(stream);
      const NvtxRange range(name);
      given->block(stream);
      task();
    };
  }

  std::shared_ptr<TaskEnd> task_end() override { return std::make_shared<CudaTaskEnd>(stream_); }

 private:
  CUDAStream stream_;
};

}  // namespace

std::shared_ptr<DeviceStream> device_stream(at::Device device, bool urgent) {
  if (!device.is_cuda()) return nullptr;
  return std::make_shared<CudaStream>(device, urgent);
}

#else

std::shared_ptr<DeviceStream> device_stream(at::Device, bool) { return nullptr; }

#endif

}  // namespace leash
