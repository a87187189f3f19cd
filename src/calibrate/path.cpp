#include "calibrate/path.h"

#include <ATen/ATen.h>

namespace ctq::calibrate {

int64_t Path::outputs() const {
  if (values.weight.defined()) return values.weight.size(0) * value_repeats;
  return gate.weight.defined() ? gate.weight.size(0) : width;
}

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kNone: break;
    case Activation::kRelu: return at::relu(x);
    case Activation::kGelu: return at::gelu(x);
    case Activation::kGeluTanh: return at::gelu(x, "tanh");
    case Activation::kQuickGelu: return at::sigmoid(1.702 * x).mul_(x);
    case Activation::kSilu: return at::silu(x);
  }
  return x;
}

}  // namespace ctq::calibrate
