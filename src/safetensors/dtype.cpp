// Names and sizes of the element types.
#include "safetensors/dtype.h"

#include <algorithm>
#include <array>

namespace ctq::safetensors {
namespace {

struct DtypeRow {
  std::string_view name;
  int bits;
};

// Indexed by Dtype.
constexpr std::array kRows{
    DtypeRow{"U64", 64},        DtypeRow{"I64", 64},    DtypeRow{"F64", 64},    DtypeRow{"C64", 64},
    DtypeRow{"F32", 32},        DtypeRow{"U32", 32},    DtypeRow{"I32", 32},    DtypeRow{"BF16", 16},
    DtypeRow{"F16", 16},        DtypeRow{"U16", 16},    DtypeRow{"I16", 16},    DtypeRow{"F8_E5M2FNUZ", 8},
    DtypeRow{"F8_E4M3FNUZ", 8}, DtypeRow{"F8_E8M0", 8}, DtypeRow{"F8_E4M3", 8}, DtypeRow{"F8_E5M2", 8},
    DtypeRow{"I8", 8},          DtypeRow{"U8", 8},      DtypeRow{"F6_E3M2", 6}, DtypeRow{"F6_E2M3", 6},
    DtypeRow{"F4", 4},          DtypeRow{"BOOL", 8},
};
static_assert(kRows.size() == static_cast<size_t>(Dtype::kBool) + 1);

}  // namespace

std::string_view dtype_name(Dtype dtype) { return kRows[static_cast<size_t>(dtype)].name; }

int dtype_bits(Dtype dtype) { return kRows[static_cast<size_t>(dtype)].bits; }

std::optional<Dtype> parse_dtype(std::string_view name) {
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const DtypeRow& r) { return r.name == name; });
  if (row == kRows.end()) return std::nullopt;
  return static_cast<Dtype>(row - kRows.begin());
}

bool is_float(Dtype dtype) {
  return dtype == Dtype::kF64 || dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16;
}

bool is_fp8(Dtype dtype) { return dtype == Dtype::kF8E4M3 || dtype == Dtype::kF8E5M2; }

std::optional<uint64_t> tensor_bytes(Dtype dtype, std::span<const int64_t> shape) {
  // The elements are counted from the left, as the reference reader does: [0, 2^62, 4] is empty, [2^62, 4, 0]
  // overflows.
  int64_t elements = 1;
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(elements, dimension, &elements)) return std::nullopt;
  }
  uint64_t bits = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(elements), static_cast<uint64_t>(dtype_bits(dtype)),
                             &bits)) {
    return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

}  // namespace ctq::safetensors
