#include "tests/support/pretend_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace leash::testing {
namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;
// A bit above those that an address of this processor may have: reading there is a fault, and
// adding to such an address leaves it one.
constexpr uintptr_t kDeviceBit = uintptr_t{1} << 62;

void* to_device_address(void* host) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(host) | kDeviceBit);
}
void* to_host_address(const void* device) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(device) & ~kDeviceBit);
}

std::atomic<int64_t> in_use = 0, limit = 0;

// The size of an allocation stands in front of it.
constexpr size_t kFront = 64;

void free_block(void* block) {
  size_t size = 0;
  std::memcpy(&size, block, sizeof(size));
  in_use -= static_cast<int64_t>(size);
  c10::free_cpu(block);
}

class DeviceMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    const c10::Device device(kType, 0);
    if (size == 0) return {nullptr, device};
    const int64_t now = in_use += static_cast<int64_t>(size);
    if (limit > 0 && now > limit) {
      in_use -= static_cast<int64_t>(size);
      TORCH_CHECK_WITH(OutOfMemoryError, false, "pretend out of memory. Tried to allocate ", size,
                       " bytes. There are ", limit.load(), ".");
    }
    auto* block = static_cast<char*>(c10::alloc_cpu(kFront + size));
    std::memcpy(block, &size, sizeof(size));
    return {to_device_address(block + kFront), block, &free_block, device};
  }
  void copy_data(void* to, const void* from, size_t count) const override {
    std::memcpy(to_host_address(to), to_host_address(from), count);
  }
};

DeviceMemory& memory() {
  static DeviceMemory memory;
  return memory;
}

thread_local c10::StreamId current_stream = 0;
std::atomic<c10::StreamId> next_of_pool = 1000;

// What PretendStreams tells.
struct Watch {
  std::mutex mutex;
  std::condition_variable changed;
  bool on = false, held = false;
  std::vector<PretendStreams::Call> calls;

  void add(PretendStreams::Kind kind, int64_t stream, const void* memory = nullptr) {
    const std::lock_guard lock(mutex);
    if (on) calls.push_back({kind, stream, memory});
  }
  void wait_for_mark(int64_t stream) {
    add(PretendStreams::Kind::mark_waits, stream);
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return !held; });
  }
};
Watch& watch() {
  static Watch* watch = new Watch;  // threads may outlive all else
  return *watch;
}

// An event is the number of the stream that it was last recorded on, and 1, so that it is not null.
void* event_on(int64_t stream) { return reinterpret_cast<void*>(stream + 1); }
int64_t stream_of(const void* event) { return reinterpret_cast<intptr_t>(event) - 1; }

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  c10::Device getDevice() const override { return {kType, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return pretend_stream(current_stream); }
  c10::Stream getDefaultStream(c10::Device) const override { return pretend_stream(0); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override {
    return pretend_stream(next_of_pool++);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return pretend_stream(std::exchange(current_stream, stream.id()));
  }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const c10::Stream& stream, c10::DeviceIndex,
              c10::EventFlag) const override {
    *event = event_on(stream.id());
    watch().add(PretendStreams::Kind::marked, stream.id());
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream& stream) const override {
    watch().add(PretendStreams::Kind::finished, stream.id());
  }
  void synchronizeEvent(void* event) const override { watch().wait_for_mark(stream_of(event)); }
  void synchronizeDevice(c10::DeviceIndex) const override {}
  void recordDataPtrOnStream(const c10::DataPtr& memory, const c10::Stream& stream) const override {
    watch().add(PretendStreams::Kind::kept, stream.id(), memory.get());
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
};

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                         std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

// The same memory as a CPU tensor.
at::Tensor host_view(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  void* host = tensor.numel() == 0 ? nullptr : to_host_address(tensor.const_data_ptr());
  return at::from_blob(host, tensor.sizes(), tensor.strides(),
                       at::TensorOptions(tensor.scalar_type()));
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& to, bool) {
  host_view(to).copy_(host_view(self));
  return to;
}

// An output that an operator made without a size gets memory now.
at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& to) {
  if (self.sizes() != to.sizes()) {
    TORCH_CHECK(to.numel() == 0, "pretend device: an output of shape ", to.sizes(),
                " would have to become ", self.sizes());
    const at::Tensor fresh = empty(self.sizes(), to.scalar_type(), {}, {}, {}, {});
    to.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
    to.unsafeGetTensorImpl()->set_sizes_contiguous(self.sizes());
  }
  return copy_from(self, to, false);
}

at::Scalar local_scalar(const at::Tensor& self) { return host_view(self).item(); }

void require_device(const c10::OperatorHandle& op, const at::Tensor& tensor) {
  // Numbers in a CPU tensor of no dimensions are taken by operators of a GPU as well.
  TORCH_CHECK(!tensor.defined() || tensor.device().type() == kType || tensor.dim() == 0,
              "Expected all tensors to be on the same device, but ", op.schema().operator_name(),
              " got one on pretend:0 and one of shape ", tensor.sizes(), " on ", tensor.device());
}

void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  for (size_t i = 0; i < op.schema().arguments().size(); ++i) {
    const c10::IValue& argument = torch::jit::peek(*stack, i, op.schema().arguments().size());
    if (argument.isTensor()) require_device(op, argument.toTensor());
    if (argument.isTensorList()) {
      for (const at::Tensor& tensor : argument.toTensorVector()) require_device(op, tensor);
    }
    if (argument.isOptionalTensorList()) {
      for (const auto& tensor : argument.toOptionalTensorVector()) {
        if (tensor) require_device(op, *tensor);
      }
    }
  }
  at::native::cpu_fallback(op, stack, /*error_on_views=*/true);
}

struct Registered {
  Registered() {
    c10::register_privateuse1_backend("pretend");
    c10::SetAllocator(kType, &memory());
    static Guard guard;
    c10::impl::registerDeviceGuard(kType, &guard);
    static Hooks hooks;
    at::RegisterPrivateUse1HooksInterface(&hooks);
    kernels.impl("empty.memory_format", &empty);
    kernels.impl("empty_strided", &empty_strided);
    kernels.impl("as_strided", &at::native::as_strided_tensorimpl);
    kernels.impl("view", &at::native::view);
    kernels.impl("_reshape_alias", &at::native::_reshape_alias);
    kernels.impl("_copy_from", &copy_from);
    kernels.impl("_copy_from_and_resize", &copy_from_and_resize);
    kernels.impl("_local_scalar_dense", &local_scalar);
    fallback.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
  }
  torch::Library kernels{torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__,
                         __LINE__};
  torch::Library fallback{torch::Library::IMPL, "_", c10::DispatchKey::PrivateUse1, __FILE__,
                          __LINE__};
};

}  // namespace

int64_t pretend_memory() { return in_use; }
void limit_pretend_memory(int64_t bytes) { limit = bytes; }

c10::Stream pretend_stream(int64_t id) {
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(kType, 0), id);
}

PretendStreams::PretendStreams() {
  const std::lock_guard lock(watch().mutex);
  TORCH_CHECK(!watch().on, "streams are watched already");
  watch().on = true;
  watch().calls.clear();
}

PretendStreams::~PretendStreams() {
  let_go();
  const std::lock_guard lock(watch().mutex);
  watch().on = false;
}

std::vector<PretendStreams::Call> PretendStreams::calls() const {
  const std::lock_guard lock(watch().mutex);
  return watch().calls;
}

void PretendStreams::clear() {
  const std::lock_guard lock(watch().mutex);
  watch().calls.clear();
}

void PretendStreams::note() { watch().add(Kind::noted, current_stream); }

void PretendStreams::hold_marks() {
  const std::lock_guard lock(watch().mutex);
  watch().held = true;
}

void PretendStreams::let_go() {
  {
    const std::lock_guard lock(watch().mutex);
    watch().held = false;
  }
  watch().changed.notify_all();
}

at::Device pretend_device() {
  static const Registered* registered = new Registered;  // for as long as the process lives
  (void)registered;
  return {kType, 0};
}

namespace {

// Before any test runs: the autograd engine starts its threads, one for each device that it knows,
// with the first backward pass of the process.
[[maybe_unused]] const at::Device registered_first = pretend_device();

}  // namespace

}  // namespace leash::testing
