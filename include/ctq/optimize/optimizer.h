// The choice of an optimizer, and its settings, in one place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ctq/optimize/learned.h"
#include "ctq/optimize/one_pass.h"
#include "ctq/optimize/rounding.h"
#include "ctq/optimize/scales.h"

namespace ctq::optimize {

enum class Method : uint8_t {
  kNearest,   ///< rtn: no optimizer
  kOriginal,  ///< iterative learned rounding, as the next three
  kAdamW,
  kRAdam,
  kProdigy,
  kDirect,   ///< one pass, second moment made from the weight
  kImplied,  ///< one pass, second moment that the checkpoint implies; `direct` where it implies none
  kAuto,     ///< the best there is data for: today `implied`
};

/// "rtn", "original", "adamw", "radam", "prodigy", "direct", "implied", "auto".
std::string_view method_name(Method method);
std::optional<Method> method_of(std::string_view name);

/// original, adamw, radam, prodigy.
bool is_learned(Method method);
/// Whether the method asks for a second moment that the checkpoint implies.
bool wants_implied(Method method);

struct Settings {
  Method method = Method::kNearest;
  DirectSettings direct = {};
  LearnedSettings learned = {};  ///< its `method` is that of `method`
  double implied_lambda = 1;
  int64_t sweeps = 0;
  Scales scales = Scales::kAbsmax;
  uint64_t seed = 0;  ///< of rows that are drawn
};

/// What the one-pass methods minimise under.
struct SecondMoment {
  at::Tensor h;        ///< [in_features, in_features] float32
  double lambda = 0;   ///< damping it wants
  std::string method;  ///< "direct", "implied"
};
/// The implied one where there is one and the method asks for it, else that of `direct`. weight: any float
/// type.
SecondMoment second_moment(const at::Tensor& weight, const Settings& settings,
                           const std::optional<at::Tensor>& implied);

/// One pass over a layer, or over some rows of one, whose scales then must not be shared with other rows
/// unless settings.scales keeps them.
Rounding round_one_pass(const Layer& layer, const Settings& settings, const SecondMoment& moment);

/// Rounds a layer. implied: the second moment that the checkpoint implies for it, where it does and the
/// method asks for one. Never worse than round to nearest in the method's own objective.
Rounding round_layer(const Layer& layer, const Settings& settings, const std::optional<at::Tensor>& implied);

}  // namespace ctq::optimize
