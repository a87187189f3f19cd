// What a checkpoint itself says about a layer's input, without data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "linalg/moment.h"
#include "model/checkpoint.h"

namespace ctq::calibrate {

/// What stands right in front of a layer.
enum class Implied : uint8_t {
  kNothing,  ///< that is known
  kNorm,
  kValues,      ///< of attention, averaged
  kActivation,  ///< of the first linear of an MLP
};

/// Rows to draw where there is no closed form.
inline constexpr int64_t kImpliedRows = 4096;

/// First and second moment of the rows x [in_features] that a layer reads.
struct InputMoments {
  linalg::Moment second;  ///< H = E x x^T, [in_features, in_features] float32
  at::Tensor mean;        ///< E x, [in_features] float32
  int64_t rows = 0;       ///< drawn, where there is no closed form; 0 where there is one
  std::string source;     ///< in words: "norm encoder.layer.0.attention.output.LayerNorm"
};

/// Inputs implied by the structure around a layer: after a norm with weight g and bias b the input is about
/// g * z + b with z standard normal (centred and scaled per row for a LayerNorm, scaled only for an RMSNorm);
/// the second linear of an MLP reads act(W1 x + b1) of such x, gated or not; an attention output reads
/// averages of the values W_v x + b_v (docs/optimizers/implied.md).
///
/// Safe to use from several threads. A layer is named as model::Checkpoint::Entry::layer() names it.
class ImpliedInputs {
 public:
  /// checkpoint: must outlive this
  explicit ImpliedInputs(const model::Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  /// What the layer's input is derived from, in words; empty when nothing is known of it. From headers alone:
  /// names that a known family has, shapes that fit, float types from 16 bits on.
  std::string source(std::string_view layer) const;

  struct Form {
    Implied kind = Implied::kNothing;
    int64_t rows = 0;   ///< of a second moment D + X^T X; 0: it is a matrix
    int64_t width = 0;  ///< of the norm at the beginning
    bool gated = false;
  };
  /// What moments() gives, from headers alone.
  Form form(std::string_view layer) const;

  /// Layers with the same key read the same input: their moments can be computed once. Empty as source() is.
  std::string input_key(std::string_view layer) const { return source(layer); }

  /// In closed form; for gated MLPs of few units, which have none, from `rows` rows (seeded, from 1 on) that
  /// are pushed through what source() names. Nothing when nothing is known, or when a weight on the way or
  /// the result is not finite.
  ///
  /// device   where the arithmetic runs and the result lies; the rows drawn are the same on all devices
  /// returns  on the CPU the same bits for any number of threads
  std::optional<InputMoments> moments(std::string_view layer, uint64_t seed, int64_t rows = kImpliedRows,
                                      at::Device device = at::kCPU) const;

 private:
  const model::Checkpoint& checkpoint_;
};

}  // namespace ctq::calibrate
