// The choice of an optimizer, and its settings, in one place.
#pragma once

#include <chrono>
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
  kTpec,      ///< learned rounding by line searches along few directions
  kDirect,    ///< one pass, second moment made from the weight
  kImplied,   ///< one pass, second moment that the checkpoint implies; `direct` where it implies none
  kGptq,      ///< one pass, second moment of recorded rows; as `implied` where none are
  kQuip,      ///< the same, also tried in a basis where no weight stands out
  kAuto,      ///< the same, columns in act order
  kAdaRound,  ///< by gradients, under the same second moment as gptq
};

/// "rtn", "original", "adamw", "radam", "prodigy", "tpec", "direct", "implied", "gptq", "quip", "auto",
/// "adaround".
std::string_view method_name(Method method);
std::optional<Method> method_of(std::string_view name);

/// original, adamw, radam, prodigy, tpec.
bool is_learned(Method method);
/// Whether it iterates and can end early: the learned ones and adaround.
bool heeds_deadline(Method method);
/// Whether the method minimises under a second moment of the input: direct, implied, gptq, quip, auto,
/// adaround.
bool takes_moment(Method method);
/// Whether that may be one that the checkpoint implies: all of these but direct.
bool wants_implied(Method method);
/// Whether it prefers one of recorded rows: gptq, quip, auto, adaround.
bool wants_recorded(Method method);

struct Settings {
  Method method = Method::kNearest;
  DirectSettings direct = {};
  LearnedSettings learned = {};  ///< its `method` is that of `method`
  double implied_lambda = 1;
  double recorded_lambda = 0.03;
  linalg::ColumnOrder gptq_order = linalg::ColumnOrder::kNatural;  ///< of kGptq; others take kActOrder
  linalg::Recursion recursion = linalg::Recursion::kBlocks;
  linalg::ColumnOrder quip_order = linalg::ColumnOrder::kActOrder;
  bool quip_hadamard = true;
  uint64_t quip_seed = 0;
  int64_t segments = 1;       ///< of columns that one-pass methods round together, of layers as wide as:
  int64_t segments_from = 0;  ///< in_features
  AdaRoundSettings adaround = {};
  int64_t drawn_rows = 0;  ///< adaround: without a recorded moment that of so many standard normal rows; 0:
                           ///< what the checkpoint implies
  int64_t drawn_at_once = 0;  ///< of these rows, in memory; 0: all
  int64_t sweeps = 0;
  int64_t direct_sweeps = 0;  ///< with a second moment made from the weight, where they gain least
  Scales scales = Scales::kAbsmax;
  uint64_t seed = 0;  ///< of rows that are drawn
};

/// Whether scales other than absmax are tried.
bool searches_scales(const Settings& settings, const format::Codec& codec);

/// Ends the iterations of the methods that heed it.
void set_deadline(Settings& settings, std::chrono::steady_clock::time_point deadline);

/// Recorded rows below which a second moment is damped more.
inline constexpr int64_t kEnoughRows = 256;

/// A second moment that is known of a layer's input.
struct KnownMoment {
  at::Tensor h;           ///< [in_features, in_features] float32
  bool recorded = false;  ///< else implied
  int64_t rows = 0;       ///< recorded; 0: many
};

/// What the one-pass methods minimise under, and how.
struct SecondMoment {
  at::Tensor h;       ///< [in_features, in_features] float32
  double lambda = 0;  ///< damping it wants
  linalg::ColumnOrder order = linalg::ColumnOrder::kActOrder;
  int64_t sweeps = 0;
  std::string method;  ///< "direct", "implied"
};
/// The known one where there is one, else that of `direct`. weight: any float type.
SecondMoment second_moment(const at::Tensor& weight, const Settings& settings,
                           const std::optional<KnownMoment>& known);

/// The same in the space in which `like` has its codes.
SecondMoment in_code_space(SecondMoment moment, const format::Encoded& like);

/// In how many segments of columns a layer is rounded.
int64_t segments_of(const Settings& settings, int64_t in_features);

/// One pass over a layer.
Rounding round_one_pass(const Layer& layer, const Settings& settings, const SecondMoment& moment);

/// One pass over parts of a layer's rows, one after another. Scales must not be shared by rows of different
/// parts, unless settings.scales keeps them. like: the first part
SecondMomentRounding one_pass_by_rows(const Layer& like, const Settings& settings,
                                      const SecondMoment& moment);

/// Rounds a layer. known: where there is one and the method asks for it. Never worse than round to nearest in
/// the method's own objective.
Rounding round_layer(const Layer& layer, const Settings& settings, const std::optional<KnownMoment>& known);

}  // namespace ctq::optimize
