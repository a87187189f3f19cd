#include "model/stored_type.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/text.h"

namespace ctq::model {

at::Tensor in_stored_type(const Checkpoint::Entry& entry, const at::Tensor& values) {
  const at::Tensor stored = values.to(scalar_type(*entry.info)).cpu();
  const bool overflows = !stored.isfinite().equal(values.isfinite().cpu());
  if (overflows)
    fail(ErrorCode::kFailure, "tensor '{}': its new values are beyond the range of {}",
         printable(entry.name()), safetensors::dtype_name(entry.info->dtype));
  return stored;
}

}  // namespace ctq::model
