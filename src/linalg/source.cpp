#include "linalg/source.h"

#include <c10/util/Exception.h>

namespace ctq::linalg {

Source source_of(const at::Tensor& weight) {
  switch (weight.scalar_type()) {
    case at::kFloat: return Source::kFloat32;
    case at::kHalf: return Source::kFloat16;
    case at::kBFloat16: return Source::kBFloat16;
    case at::kDouble: return Source::kFloat64;
    default: TORCH_INTERNAL_ASSERT(false, "weight has no float type");
  }
}

}  // namespace ctq::linalg
