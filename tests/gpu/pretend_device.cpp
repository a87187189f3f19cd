// A pretend GPU: a device of LibTorch whose memory the host cannot touch. Its operations are those of the CPU
// on the same elements; like a GPU's they refuse tensors of two devices. It counts what a GPU would be asked
// for. Loaded beside the program: LD_PRELOAD=libctq_pretend.so convert_to_quant --device pretend.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_set>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_cpu_dispatch.h>
#include <ATen/ops/copy_native.h>
#include <ATen/ops/set_cpu_dispatch.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include "gpu/pretend_memory.h"

namespace pretend {
namespace {

thread_local int inside = 0;  // an operation of the device: what happens there is not the program's own

struct Inside {
  Inside() { ++inside; }
  ~Inside() { --inside; }
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::Stream exchangeStream(c10::Stream) const override {
    return c10::Stream(c10::Stream::DEFAULT, device());
  }
  void* getStreamNativeHandle(const c10::Stream) const override { return nullptr; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const override {
    at::DataPtr fresh = allocator().allocate(size);
    if (fresh.get() && storage.nbytes() > 0)
      std::memcpy(arena().host(fresh.get()), arena().host(storage.data()), std::min(size, storage.nbytes()));
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(fresh));
    storage.unsafeGetStorageImpl()->set_nbytes(size);
  }
};

bool is_own(const at::Tensor& tensor) { return tensor.defined() && tensor.device().type() == kType; }

/// The same elements as a tensor of the CPU.
at::Tensor as_cpu(const at::Tensor& tensor) {
  const c10::Storage& storage = tensor.storage();
  void* data = storage.nbytes() > 0 ? arena().host(storage.data()) : nullptr;
  c10::Storage alias(c10::Storage::use_byte_size_t(), static_cast<int64_t>(storage.nbytes()),
                     c10::DataPtr(data, at::kCPU), c10::GetAllocator(at::kCPU), /*resizable=*/true);
  at::Tensor cpu = at::detail::make_tensor<c10::TensorImpl>(
      std::move(alias), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
  cpu.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  return cpu;
}

at::Tensor on_device(const at::Tensor& cpu) {
  at::Tensor tensor = at::detail::empty_strided_generic(cpu.sizes(), cpu.strides(), &allocator(),
                                                        c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                                        cpu.scalar_type());
  at::Tensor same = as_cpu(tensor);
  if (cpu.numel() > 0) at::native::copy_(same, cpu, false);
  return tensor;
}

/// Operations that take tensors of the CPU beside those of the device.
bool mixes(const std::string& name) {
  static const std::unordered_set<std::string> names = {"aten::index.Tensor", "aten::index_put_",
                                                        "aten::_index_put_impl_", "aten::index.Tensor_out",
                                                        "aten::index_put.out"};
  return names.contains(name);
}

/// Those that do not even take a number of the CPU, as elementwise ones do.
bool takes_no_numbers(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::mm",         "aten::addmm",  "aten::addmm_",
      "aten::bmm",        "aten::addr",   "aten::addr_",
      "aten::mv",         "aten::addmv",  "aten::index_select",
      "aten::index_copy", "aten::gather", "aten::index_copy_",
      "aten::bucketize",  "aten::cat",    "aten::linalg_solve_triangular"};
  return names.contains(name);
}

/// A tensor of the device among the arguments, and what stood for it.
struct Argument {
  at::Tensor own, cpu;
  const c10::AliasInfo* alias;
  const void* data;
};

/// Replaces an operation's tensors by those of the CPU.
class Arguments {
 public:
  Arguments(const c10::FunctionSchema& schema, torch::jit::Stack& stack) {
    const size_t begin = stack.size() - schema.arguments().size();
    for (size_t i = 0; i < schema.arguments().size(); ++i) {
      c10::IValue& value = stack[begin + i];
      const c10::AliasInfo* alias = schema.arguments()[i].alias_info();
      if (value.isTensor()) {
        value = replaced(value.toTensor(), alias);
      } else if (value.isTensorList()) {
        std::vector<at::Tensor> all;
        for (const at::Tensor& tensor : value.toTensorVector()) all.push_back(replaced(tensor, alias));
        value = all;
      } else if (value.isOptionalTensorList()) {
        c10::List<std::optional<at::Tensor>> all;
        for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector())
          all.push_back(tensor ? std::optional(replaced(*tensor, alias)) : std::nullopt);
        value = all;
      } else if (value.isDevice()) {
        value = c10::Device(at::kCPU);
      }
    }
  }

  void check(const std::string& name, const std::string& full_name) const {
    if (own_.empty() || mixes(full_name)) return;
    for (const at::Tensor& tensor : strangers_)
      TORCH_CHECK(tensor.dim() == 0 && !takes_no_numbers(name),
                  "Expected all tensors to be on the same device, but found at least two devices, ", device(),
                  " and ", tensor.device(), "! (in ", full_name, ")");
  }

  /// What was resized lies elsewhere now.
  void write_back() const {
    for (const Argument& argument : own_) {
      if (!argument.alias || !argument.alias->isWrite()) continue;
      if (argument.cpu.storage().data() == argument.data && argument.cpu.sizes() == argument.own.sizes())
        continue;
      at::native::resize_(argument.own, argument.cpu.sizes(), std::nullopt);
      at::Tensor to = as_cpu(argument.own);
      at::native::copy_(to, argument.cpu, false);
    }
  }

  /// The tensor that an operation returns for one that it wrote to.
  at::Tensor written(const at::Tensor& cpu) const {
    for (const Argument& argument : own_)
      if (argument.cpu.unsafeGetTensorImpl() == cpu.unsafeGetTensorImpl()) return argument.own;
    return cpu;
  }

 private:
  at::Tensor replaced(const at::Tensor& tensor, const c10::AliasInfo* alias) {
    if (!tensor.defined()) return tensor;
    if (!is_own(tensor)) {
      strangers_.push_back(tensor);
      return tensor;
    }
    const at::Tensor cpu = as_cpu(tensor);
    own_.push_back({tensor, cpu, alias, cpu.storage().data()});
    return cpu;
  }

  std::vector<Argument> own_;
  std::vector<at::Tensor> strangers_;
};

void operation(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const std::string name = schema.name(),
                    full = schema.overload_name().empty() ? name : name + "." + schema.overload_name();
  if (inside == 0) counts().launched(full);
  const Inside mark;
  const Arguments arguments(schema, *stack);
  arguments.check(name, full);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  arguments.write_back();
  const size_t first = stack->size() - schema.returns().size();
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    c10::IValue& value = (*stack)[first + i];
    const c10::AliasInfo* alias = schema.returns()[i].alias_info();
    if (alias && alias->isWrite()) {
      if (value.isTensor()) value = arguments.written(value.toTensor());
      continue;
    }
    TORCH_CHECK(!alias, "pretend device: ", full, " is a view, and has no kernel");
    if (value.isTensor() && value.toTensor().defined()) {
      value = on_device(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> all;
      for (const at::Tensor& tensor : value.toTensorVector())
        all.push_back(tensor.defined() ? on_device(tensor) : tensor);
      value = all;
    }
  }
}

at::Tensor empty(c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
                 std::optional<c10::Device>, std::optional<bool> pinned,
                 std::optional<c10::MemoryFormat> format) {
  TORCH_CHECK(!pinned.value_or(false), "only memory of the CPU can be pinned");
  return at::detail::empty_generic(size, &allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(dtype), format);
}
at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<c10::ScalarType> dtype,
                         std::optional<c10::Layout>, std::optional<c10::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &allocator(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(dtype));
}
at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                      std::optional<c10::SymInt> offset) {
  return at::cpu::as_strided_symint(self, size, stride, std::move(offset));
}
at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}
at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}
const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef size,
                         std::optional<at::MemoryFormat> format) {
  return at::native::resize_(self, C10_AS_INTARRAYREF_SLOW(size), format);
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& other, bool) {
  const bool from = is_own(self), to = is_own(other);
  if (inside == 0) {
    if (from && to)
      counts().launched("copy_");
    else
      counts().moved(to ? "up" : "down");
  }
  const Inside mark;
  const at::Tensor source = from ? as_cpu(self) : self;
  at::Tensor target = to ? as_cpu(other) : other;
  at::native::copy_(target, source, false);
  return other;
}
at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& other) {
  at::native::resize_(other, self.sizes(), std::nullopt);
  return copy_from(self, other, false);
}
at::Scalar number(const at::Tensor& self) {
  if (inside == 0) counts().moved("waits");
  const Inside mark;
  return at::_local_scalar_dense(as_cpu(self));
}
// These tell the host what they found.
bool equal(const at::Tensor& a, const at::Tensor& b) {
  counts().moved("waits");
  const Inside mark;
  TORCH_CHECK(is_own(a) == is_own(b), "Cannot compare two tensors on different devices");
  return at::equal(as_cpu(a), as_cpu(b));
}
at::Tensor nonzero(const at::Tensor& self) {
  counts().launched("aten::nonzero");
  counts().moved("waits");
  const Inside mark;
  return on_device(at::nonzero(as_cpu(self)));
}
at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  return at::native::set_tensor_(self, source);
}
at::Tensor& set_storage(at::Tensor& self, at::Storage source) {
  return at::native::set_(self, std::move(source));
}
at::Tensor& set_storage_offset(at::Tensor& self, at::Storage source, int64_t offset, c10::IntArrayRef size,
                               c10::IntArrayRef stride) {
  return at::cpu::set_(self, std::move(source), offset, size, stride);
}
// A product of BF16 with sums in float32, which the CPU has not.
at::Tensor mm_dtype(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  counts().launched("aten::mm.dtype");
  const Inside mark;
  TORCH_CHECK(is_own(a) && is_own(b) && a.scalar_type() == b.scalar_type(), "mm.dtype: operands");
  return on_device(at::mm(as_cpu(a).to(type), as_cpu(b).to(type)));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("as_strided", as_strided);
  m.impl("view", view);
  m.impl("_reshape_alias", reshape_alias);
  m.impl("resize_", resize);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", number);
  m.impl("equal", equal);
  m.impl("nonzero", nonzero);
  m.impl("set_.source_Tensor", set_tensor);
  m.impl("set_.source_Storage", set_storage);
  m.impl("set_.source_Storage_storage_offset", set_storage_offset);
  m.impl("mm.dtype", mm_dtype);
  // Of several operations, of which one asks a table of kernels by device.
  for (const char* name : {"ldexp.Tensor", "ldexp.out", "ldexp_"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&operation>());
}
TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&operation>()); }

void on_fault(int, siginfo_t* info, void*) {
  if (arena().holds(info->si_addr)) {
    constexpr char kText[] = "pretend device: the host touched its memory\n";
    (void)!write(2, kText, sizeof kText - 1);
    _exit(97);
  }
  ::signal(SIGSEGV, SIG_DFL);
}

struct Registration {
  Registration() {
    c10::SetAllocator(kType, &allocator());
    c10::impl::registerDeviceGuard(kType, new Guard);
    at::RegisterPrivateUse1HooksInterface(new Hooks);
    c10::register_privateuse1_backend("pretend");
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    std::atexit([] { counts().write(); });
  }
} registration;

}  // namespace
}  // namespace pretend
