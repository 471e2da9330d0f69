#include "models/device/stream_order.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

namespace leash {
namespace {

// The guard of a device's kind: CUDA, or another.
c10::impl::VirtualGuardImpl of(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type());
}

}  // namespace

void finish_current_stream(c10::Device device) {
  if (!device.is_cpu()) of(device).getStream(device).synchronize();
}

void StreamReaders::add(const at::Tensor& memory) {
  const c10::Device device = memory.device();
  if (device.is_cpu()) return;
  const c10::Stream stream = of(device).getStream(device);
  if (std::ranges::find(streams_, stream) != streams_.end()) return;
  // As Tensor::record_stream, without an operator that every device would have to have.
  of(device).recordDataPtrOnStream(memory.storage().data_ptr(), stream);
  streams_.push_back(stream);
}

std::vector<c10::Event> StreamReaders::ends() const {
  std::vector<c10::Event> ends;
  for (const c10::Stream& stream : streams_) {
    ends.emplace_back(stream.device_type());
    ends.back().record(stream);
  }
  return ends;
}

at::Tensor OwnStreams::run(c10::Device device, const std::function<at::Tensor()>& work) {
  if (device.is_cpu()) return work();
  auto found = streams_.find(device.str());
  if (found == streams_.end()) {
    found = streams_.emplace(device.str(), of(device).getStreamFromGlobalPool(device)).first;
  }
  const c10::StreamGuard guard(found->second);
  at::Tensor result = work();
  found->second.synchronize();
  return result;
}

}  // namespace leash
