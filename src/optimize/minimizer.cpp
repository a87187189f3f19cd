#include "optimize/minimizer.h"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "linalg/cholesky.h"
#include "linalg/coordinate_descent.h"
#include "linalg/ldlq.h"
#include "linalg/objective.h"
#include "linalg/panels.h"
#include "linalg/sample_space.h"

namespace ctq::optimize {
namespace {

/// With one factor of all columns.
template <typename Factor>
class OneFactor final : public Minimizer {
 public:
  /// damped: undefined where neither sweep() nor h() will be called
  OneFactor(Factor factor, linalg::Moment damped, const OnePassSettings& settings)
      : factor_(std::move(factor)), h_(std::move(damped)), recursion_(settings.recursion) {
    if (settings.sweeps > 0) descent_.emplace(h_);
  }

  at::Tensor round(const Layer& layer, const at::Tensor& weight, at::Tensor* cost) const override {
    return linalg::ldlq_round(weight, factor_, layer.tiling, layer.grid->code(), layer.scale, cost,
                              recursion_);
  }
  at::Tensor round_and_sweep(const Layer& layer, int64_t sweeps, at::Tensor* cost) const override {
    if constexpr (std::is_same_v<Factor, linalg::FeedbackFactor>) {
      return Minimizer::round_and_sweep(layer, sweeps, cost);
    } else {
      at::Tensor mapped;
      const at::Tensor values = linalg::ldlq_round(layer.weight, factor_, layer.tiling, layer.grid->code(),
                                                   layer.scale, nullptr, recursion_, &mapped);
      return descent_.value().swept(values, layer.weight, layer.tiling, layer.grid->code(), layer.scale,
                                    sweeps, cost, mapped);
    }
  }
  at::Tensor sweep(const Layer& layer, const at::Tensor& values, int64_t sweeps,
                   at::Tensor* cost) const override {
    return descent_.value().swept(values, layer.weight, layer.tiling, layer.grid->code(), layer.scale, sweeps,
                                  cost);
  }
  at::Tensor costs(const at::Tensor& error) const override {
    if constexpr (std::is_same_v<Factor, linalg::FeedbackFactor>)
      return linalg::objective_rows(error, factor_);  // half the work
    else
      return linalg::objective_rows(error, h_);
  }
  const linalg::Moment& h() const override { return h_; }
  double lambda() const override { return factor_.lambda; }

 private:
  Factor factor_;
  linalg::Moment h_;  // damped
  std::optional<linalg::CoordinateDescent> descent_;
  linalg::Recursion recursion_;
};

struct Segment {
  int64_t begin = 0, width = 0;  ///< of columns
  linalg::FeedbackFactor factor;

  at::Tensor columns_of(const at::Tensor& matrix) const { return matrix.narrow(1, begin, width); }
};

class Segments final : public Minimizer {
 public:
  Segments(const at::Tensor& h, const OnePassSettings& settings, double shift)
      : h_(h), moment_(h), settings_(settings), shift_(shift) {}

  /// False where its block cannot be factored.
  bool add(int64_t begin, int64_t width) {
    Segment segment{.begin = begin, .width = width, .factor = {}};
    segment.factor = linalg::damped_factor(block(segment), /*lambda=*/0, settings_.order);
    if (!segment.factor.ok) return false;
    segments_.push_back(std::move(segment));
    return true;
  }

  at::Tensor round(const Layer& layer, const at::Tensor& weight, at::Tensor* cost) const override {
    at::Tensor values = at::empty_like(weight), error = at::empty_like(weight);
    for (const Segment& segment : segments_) {
      const at::Tensor before = h_.narrow(0, 0, segment.begin), scale = scale_of(layer, segment);
      at::Tensor target = segment.columns_of(weight).contiguous();
      if (segment.begin > 0)
        target = target - moved(segment, linalg::product(error.narrow(1, 0, segment.begin),
                                                         segment.columns_of(before)));
      set(layer, segment, weight, values, error,
          linalg::ldlq_round(target, segment.factor, tiling_of(layer, segment), layer.grid->code(), scale,
                             nullptr, settings_.recursion));
    }
    if (cost) *cost = at::Tensor();
    return values;
  }

  at::Tensor sweep(const Layer& layer, const at::Tensor& values, int64_t sweeps,
                   at::Tensor* cost) const override {
    *cost = at::Tensor();
    at::Tensor swept = values.clone(), error = values * expanded_scale(layer, layer.scale) - layer.weight;
    for (int64_t i = 0; i < sweeps; ++i) {
      for (const Segment& segment : segments_) {
        const at::Tensor own = segment.columns_of(error).contiguous();
        const at::Tensor others =
            linalg::product(error, segment.columns_of(h_)) -
            linalg::product(own, segment.columns_of(h_.narrow(0, segment.begin, segment.width)));
        const at::Tensor target = segment.columns_of(layer.weight) - moved(segment, others);
        set(layer, segment, layer.weight, swept, error,
            linalg::coordinate_descent(segment.columns_of(swept).contiguous(), target, block(segment),
                                       tiling_of(layer, segment), layer.grid->code(),
                                       scale_of(layer, segment), /*sweeps=*/1));
      }
    }
    return swept;
  }

  at::Tensor costs(const at::Tensor& error) const override {
    return linalg::objective_rows(error, h_).add_(error.square().sum(1, false, at::kDouble), shift_);
  }
  const linalg::Moment& h() const override { return moment_; }
  double lambda() const override { return settings_.lambda; }

 private:
  at::Tensor block(const Segment& segment) const {
    at::Tensor own = segment.columns_of(h_.narrow(0, segment.begin, segment.width)).clone();
    own.diagonal().add_(shift_);
    return own;
  }
  /// How far the segment's optimum moves for that gradient.
  static at::Tensor moved(const Segment& segment, const at::Tensor& gradient) {
    return linalg::solve(segment.factor, gradient);
  }
  static linalg::Tiling tiling_of(const Layer& layer, const Segment& segment) {
    return {.rows = layer.tiling.rows, .cols = std::min(layer.tiling.cols, segment.width)};
  }
  static at::Tensor scale_of(const Layer& layer, const Segment& segment) {
    if (layer.scale.size(1) == 1) return layer.scale;
    const int64_t first = segment.begin / layer.tiling.cols;
    return layer.scale.narrow(1, first, tiling_of(layer, segment).count_across(segment.width)).contiguous();
  }
  static void set(const Layer& layer, const Segment& segment, const at::Tensor& weight, at::Tensor& values,
                  at::Tensor& error, const at::Tensor& chosen) {
    segment.columns_of(values).copy_(chosen);
    const at::Tensor scale = segment.columns_of(expanded_scale(layer, layer.scale));
    segment.columns_of(error).copy_(at::addcmul(-segment.columns_of(weight), chosen, scale));
  }

  at::Tensor h_;  // not damped
  linalg::Moment moment_;
  OnePassSettings settings_;
  double shift_ = 0;  // what damping adds to its diagonal
  std::vector<Segment> segments_;
};

}  // namespace

std::unique_ptr<Minimizer> minimize_at_once(const linalg::Moment& h, const OnePassSettings& settings,
                                            bool with_h) {
  linalg::FeedbackFactor factor = linalg::damped_factor(h.matrix(), settings.lambda, settings.order);
  if (!factor.ok) return nullptr;
  linalg::Moment damped;
  if (with_h) damped = h.shifted(h.diagonal().mean().mul(factor.lambda));
  return std::make_unique<OneFactor<linalg::FeedbackFactor>>(std::move(factor), std::move(damped), settings);
}

std::unique_ptr<Minimizer> minimize_in_sample_space(const linalg::Moment& h,
                                                    const OnePassSettings& settings) {
  linalg::SampleFactor factor = linalg::sample_factor(h, settings.lambda, settings.order);
  if (!factor.ok) return nullptr;
  linalg::Moment damped = h.shifted(h.diagonal().mean().mul(factor.lambda));
  return std::make_unique<OneFactor<linalg::SampleFactor>>(std::move(factor), std::move(damped), settings);
}

std::unique_ptr<Minimizer> minimize_in_segments(const Layer& layer, const at::Tensor& h,
                                                const OnePassSettings& settings) {
  const int64_t columns = h.size(0), count = std::clamp<int64_t>(settings.segments, 1, columns);
  // Tiles are not cut.
  const int64_t unit = layer.scale.size(1) > 1 ? layer.tiling.cols : 1;
  const int64_t width = ((columns + count - 1) / count + unit - 1) / unit * unit;
  auto minimizer =
      std::make_unique<Segments>(h, settings, settings.lambda * h.diagonal().mean().item<double>());
  for (int64_t begin = 0; begin < columns; begin += width)
    if (!minimizer->add(begin, std::min(width, columns - begin))) return nullptr;
  return minimizer;
}

}  // namespace ctq::optimize
