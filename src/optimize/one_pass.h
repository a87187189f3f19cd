// Rounding for a second moment of the layer's input, given or made up: in one pass with error feedback, or by
// AdaRound.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "linalg/cholesky.h"
#include "linalg/ldlq.h"
#include "linalg/moment.h"
#include "optimize/adaround.h"
#include "optimize/rounding.h"
#include "optimize/scales.h"
#include "optimize/subspace.h"

namespace ctq::optimize {

struct OnePassSettings {
  double lambda = 0;   ///< share of mean(diag H) added to H's diagonal
  int64_t sweeps = 0;  ///< of coordinate descent afterwards
  Scales scales = Scales::kAbsmax;
  linalg::ColumnOrder order = linalg::ColumnOrder::kNatural;
  linalg::Recursion recursion = linalg::Recursion::kBlocks;
  int64_t segments = 1;  ///< of columns, each with its own factor: less memory than one of all (1)
  std::optional<AdaRoundSettings> adaround = {};  ///< in place of error feedback
  at::Tensor also = {};  ///< another weight of the layer's shape: what it rounds to is taken where it is
                         ///< closer to the layer's own; undefined: none
};

class Minimizer;

/// Minimises tr(E H' E^T), E = values * scale - W, H' = H + lambda mean(diag H) I, by linalg::ldlq_round and
/// coordinate descent, for a layer or for parts of its rows: H is factored once. Beside h, at most three
/// matrices of its size are held at a time; with segments one of a segment's share, by as many as there are.
class SecondMomentRounding {
 public:
  /// h       [in_features, in_features] float32, the layers' device. Segments are of a matrix alone: one
  ///         that is none takes little memory as it is
  /// like    a layer of the form of those that will be rounded
  /// method  how results name it
  SecondMomentRounding(linalg::Moment h, OnePassSettings settings, const Layer& like, std::string method);

  /// Searched scales are taken where they end lower than absmax; rows that share no scale are chosen one by
  /// one, so none is worse than rounded to nearest.
  ///
  /// returns  objective "trace", divided by ||W||^2 mean(diag H'); round to nearest with absmax scales,
  ///          guarded, where H cannot be factored or nothing is gained. stopped_by "time" where a deadline
  ///          ended AdaRound
  Rounding round(const Layer& layer) const;
  /// Of some rows of a layer; guarded only where no row gains. Of all parts together has_gained() is to be
  /// asked.
  Rounding round_part(const Layer& part) const;

  /// Whether so much less is more than the rounding of float32 sums.
  static bool has_gained(double objective, double nearest_objective);

 private:
  linalg::Moment h_;
  at::Tensor mean_;  // of its diagonal, [] float64
  OnePassSettings settings_;
  std::string method_;
  std::shared_ptr<const Minimizer> minimizer_;  ///< null where H cannot be factored
};

/// Of one layer.
Rounding round_with_second_moment(const Layer& layer, const linalg::Moment& h,
                                  const OnePassSettings& settings, std::string method);

/// What `direct` minimises for want of data.
enum class DirectObjective : uint8_t {
  kMixed,     ///< H = W^T W / mean(diag(W^T W)) + damping I; of many columns a part of low rank of W^T W
              ///< and its diagonal
  kSubspace,  ///< H = V_k V_k^T + 0.02 I, V_k the leading right singular vectors
};

struct DirectSettings {
  DirectObjective objective = DirectObjective::kMixed;
  double damping = 4;
  SubspaceSettings subspace = {};  ///< kSubspace
};

/// Rows of a weight that direct_second_moment() has in float32 at a time.
inline constexpr int64_t kGramRows = 1 << 15;

/// The rank that kMixed takes of so many columns; that many rows of a weight are taken as they are.
int64_t direct_rank(int64_t in_features);

/// The second moment that stands in for the layer's input. [in_features, in_features] float32.
/// weight: [out_features, in_features], any float type.
linalg::Moment direct_second_moment(const at::Tensor& weight, const DirectSettings& settings);

}  // namespace ctq::optimize
