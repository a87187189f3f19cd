// The choice of an optimizer, and its settings, in one place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ctq/optimize/one_pass.h"
#include "ctq/optimize/rounding.h"

namespace ctq::optimize {

enum class Method : uint8_t {
  kNearest,  ///< rtn: no optimizer
  kDirect,   ///< one pass, second moment made from the weight
  kImplied,  ///< one pass, second moment that the checkpoint implies; `direct` where it implies none
};

/// "rtn", "direct", "implied".
std::string_view method_name(Method method);

struct Settings {
  Method method = Method::kNearest;
  DirectSettings direct;
  double implied_lambda = 1;
  int64_t sweeps = 0;
  uint64_t seed = 0;
};

/// Rounds a layer. implied: the second moment that the checkpoint implies for it, where it does and the
/// method asks for one. Never worse than round to nearest in the method's own objective.
Rounding round_layer(const Layer& layer, const Settings& settings, const std::optional<at::Tensor>& implied);

}  // namespace ctq::optimize
