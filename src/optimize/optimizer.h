// Optimizers: what each needs, costs and does, and the settings of all.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "optimize/learned.h"
#include "optimize/one_pass.h"
#include "optimize/rounding.h"
#include "optimize/scales.h"

namespace ctq::optimize {

struct Settings;
struct SecondMoment;

/// What an optimizer holds in memory while it works on a layer, in float32 matrices. Upper bounds, by
/// measurement (bench/memory.py), beside the weight as it was read and its codes.
struct Footprint {
  double rows = 0;     ///< of [rows worked on at a time, in_features]
  double moments = 0;  ///< of [in_features, in_features]
};

/// What a footprint depends on.
struct Space {
  const format::Codec& codec;
  bool rotated = false;  ///< codes stand for another basis than the weight
  int64_t in_features = 0;
};

/// What an optimizer wants to know of a layer's input.
struct Needs {
  bool moment = false;    ///< a second moment to minimise under, made from the weight where none is known
  bool implied = false;   ///< one that the checkpoint implies is better
  bool recorded = false;  ///< one of recorded rows is better still
  bool drawn = false;     ///< where Settings::drawn_rows says so, one of random rows in place of a made one
};

/// A way to choose the codes of a layer: a file that defines it, and a row of registry.cpp.
struct Optimizer {
  std::string_view name;  ///< "gptq", as people write it
  Needs needs = {};
  bool names_itself = false;  ///< results bear its name, else that of the moment: "gptq", "implied", "direct"
  bool heeds_deadline = false;  ///< it iterates and can end early
  /// Whether rows may be rounded some at a time, since they do not depend on each other, and columns in
  /// segments.
  bool by_rows = false, by_segments = false;
  bool by_gradients = false;         ///< AdaRound in place of error feedback
  bool incoherent = false;           ///< it also rounds in a random basis
  const Learner* learner = nullptr;  ///< of learned rounding
  /// Of columns, under a recorded moment; null: act order.
  linalg::ColumnOrder (*order)(const Settings&) = nullptr;
  /// Time per element of a layer with so many columns, against rounding to nearest on a CPU.
  double (*cost)(const Settings&, double columns) = nullptr;
  /// settings: with the segments that the layer is rounded in. What round to nearest holds is little beside
  /// its codes.
  Footprint (*footprint)(const Settings&, const Space&) = nullptr;
  /// Never worse than round to nearest in its own objective. moment: null where it needs none
  Rounding (*round)(const Layer&, const Settings&, const SecondMoment* moment) = nullptr;
};

extern const Optimizer kNearest;   ///< rtn: no optimizer
extern const Optimizer kOriginal;  ///< iterative learned rounding, as the next four
extern const Optimizer kAdamW;
extern const Optimizer kRAdam;
extern const Optimizer kProdigy;
extern const Optimizer kTpec;      ///< by line searches along few directions
extern const Optimizer kDirect;    ///< one pass, second moment made from the weight
extern const Optimizer kImplied;   ///< one pass, second moment that the checkpoint implies
extern const Optimizer kGptq;      ///< one pass, second moment of recorded rows
extern const Optimizer kQuip;      ///< the same, also tried in a basis where no weight stands out
extern const Optimizer kAuto;      ///< the same as gptq, columns in act order
extern const Optimizer kAdaRound;  ///< by gradients, under the same second moment as gptq

/// All of them.
std::span<const Optimizer* const> optimizers();
/// Null where there is none of that name.
const Optimizer* find_optimizer(std::string_view name);

struct Settings {
  const Optimizer* optimizer = &kNearest;
  DirectSettings direct = {};
  LearnedSettings learned = {};  ///< its `learner` is that of `optimizer`
  double implied_lambda = 1;
  double recorded_lambda = 0.03;
  bool tries_damping = true;  ///< others than recorded_lambda, where little was recorded
  linalg::ColumnOrder gptq_order = linalg::ColumnOrder::kNatural;  ///< of gptq; others take kActOrder
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

/// Ends the iterations of the optimizers that heed it.
void set_deadline(Settings& settings, std::chrono::steady_clock::time_point deadline);

/// Recorded rows below which a second moment is damped more.
inline constexpr int64_t kEnoughRows = 256;

/// A second moment that is known of a layer's input.
struct KnownMoment {
  linalg::Moment h;                   ///< [in_features, in_features] float32
  bool recorded = false;              ///< else implied
  int64_t rows = 0;                   ///< recorded; 0: many
  std::optional<double> lambda = {};  ///< damping; nothing: as the settings have it
};

/// What a second moment is made of.
enum class Origin : uint8_t { kRecordedRows, kCheckpoint, kRandomRows, kWeight };

/// How results name what is rounded under it: "gptq", "implied", "drawn", "direct".
std::string_view origin_name(Origin origin);

/// What the one-pass methods minimise under, and how.
struct SecondMoment {
  linalg::Moment h;   ///< [in_features, in_features] float32
  double lambda = 0;  ///< damping it wants
  linalg::ColumnOrder order = linalg::ColumnOrder::kActOrder;
  int64_t sweeps = 0;
  Origin origin = Origin::kWeight;
};
/// The known one where there is one, else that of `direct`. weight: any float type.
SecondMoment second_moment(const at::Tensor& weight, const Settings& settings,
                           const std::optional<KnownMoment>& known);

/// The same in the space in which `like` has its codes.
SecondMoment in_code_space(SecondMoment moment, const format::Encoded& like);
/// Both in one.
SecondMoment second_moment(const at::Tensor& weight, const Settings& settings,
                           const std::optional<KnownMoment>& known, const format::Encoded& like);

/// In how many segments of columns a layer is rounded.
int64_t segments_of(const Settings& settings, int64_t in_features);

/// One pass over parts of a layer's rows, one after another. Scales must not be shared by rows of different
/// parts, unless settings.scales keeps them. like: the first part
SecondMomentRounding one_pass_by_rows(const Layer& like, const Settings& settings,
                                      const SecondMoment& moment);

/// Rounds a layer by settings.optimizer. known: where there is one and the optimizer asks for it.
Rounding round_layer(const Layer& layer, const Settings& settings, const std::optional<KnownMoment>& known);

}  // namespace ctq::optimize
