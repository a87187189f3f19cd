#include "transform/smoothing.h"

#include <algorithm>
#include <set>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/cancel.h"
#include "linalg/device.h"

namespace ctq::transform {
namespace {

using calibrate::Fold;
using calibrate::FoldedRows;
using Entry = model::Checkpoint::Entry;

constexpr double kSmallest = 1e-5, kLargest = 1e5;

const Entry& weight_of(const model::Checkpoint& checkpoint, const std::string& layer) {
  return *checkpoint.find(layer + ".weight");
}

/// Largest magnitude of each column over all readers of an input.
at::Tensor weight_max(const model::Checkpoint& checkpoint, const Fold& fold, at::Device device) {
  at::Tensor most;
  for (const std::string& reader : fold.readers) {
    const Entry& entry = weight_of(checkpoint, reader);
    const at::Tensor weight = model::load(entry).to(device);
    const at::Tensor columns = column_max(weight);
    most = most.defined() ? at::maximum(most, columns) : columns;
    entry.file->release(*entry.info);
  }
  return most;
}

at::Tensor power_of_two(const at::Tensor& factors) { return at::exp2(at::log2(factors).round()); }

/// Which leave rows of a linear layer the size that they had, on average.
at::Tensor of_mean_one(const at::Tensor& factors) { return factors / factors.log().mean().exp(); }

/// The factors next to these for which (t + offset) / s is a number of the maker's type.
at::Tensor exact_for(const FoldedRows& maker, const at::Tensor& factors) {
  const at::Tensor stored = model::load(*maker.entry).narrow(0, maker.first, maker.rows);
  const at::Tensor before = stored.to(at::kDouble) + maker.offset;
  const at::Tensor rounded =
      (before / factors.to(at::kDouble) - maker.offset).to(model::scalar_type(*maker.entry->info));
  const at::Tensor exact = (before / (rounded.to(at::kDouble) + maker.offset)).to(at::kFloat);
  const at::Tensor usable = exact.isfinite().logical_and(exact > 0);
  return at::where(usable, exact, at::ones_like(exact));
}

/// A vector along the first dimension of a tensor.
at::Tensor along_rows(const at::Tensor& vector, const at::Tensor& tensor) {
  return tensor.dim() == 1 ? vector : vector.unsqueeze(1);
}

}  // namespace

at::Tensor smoothing_factors(const at::Tensor& input_max, const at::Tensor& weight_max, double alpha) {
  const at::Tensor x = input_max.to(at::kDouble), w = weight_max.to(at::kDouble);
  const at::Tensor factors = (x.pow(alpha) / w.pow(1 - alpha)).clamp(kSmallest, kLargest);
  const at::Tensor usable = (x > 0).logical_and(w > 0).logical_and(x.isfinite()).logical_and(w.isfinite());
  return at::where(usable, factors, at::ones_like(factors)).to(at::kFloat);
}

at::Tensor stored_factors(const at::Tensor& input_max, const at::Tensor& weight_max, double alpha) {
  constexpr double kMost = 1 << 14;
  const at::Tensor logs = smoothing_factors(input_max, weight_max, alpha).to(at::kDouble).log();
  const at::Tensor used = (input_max > 0).logical_and(weight_max > 0).to(at::kDouble);
  const at::Tensor mean = (logs * used).sum() / used.sum().clamp_min(1);
  return ((mean - logs) * used).exp().clamp(1 / kMost, kMost).to(at::kBFloat16);
}

at::Tensor column_max(const at::Tensor& weight) {
  return at::maximum(weight.amax(0), -weight.amin(0)).to(at::kFloat);
}

std::vector<Fold> Smoothing::candidates(const model::Checkpoint& checkpoint,
                                        const calibrate::InputRanges& ranges,
                                        const std::function<bool(std::string_view)>& quantized) {
  std::vector<Fold> found = calibrate::folds(checkpoint);
  std::erase_if(found, [&](const Fold& fold) {
    // A modulation is not exact with powers of two, which readers that stay as they are would need.
    const bool pays = fold.into == Fold::Into::kModulation ? std::ranges::all_of(fold.readers, quantized)
                                                           : std::ranges::any_of(fold.readers, quantized);
    return !pays || !ranges.knows(fold.readers.front());
  });
  return found;
}

Smoothing::Smoothing(const model::Checkpoint& checkpoint, const calibrate::InputRanges& ranges, double alpha,
                     const std::function<bool(std::string_view)>& quantized, at::Device device,
                     const StoredFactors& stored, const std::function<bool(const Entry&)>& concerned) {
  const auto is_asked = [&](const Fold& fold) {
    return std::ranges::any_of(fold.makers, [&](const FoldedRows& rows) { return concerned(*rows.entry); }) ||
           std::ranges::any_of(fold.readers, [&](const std::string& reader) {
             return concerned(weight_of(checkpoint, reader));
           });
  };
  for (const Fold& fold : candidates(checkpoint, ranges, quantized)) {
    if (concerned && !is_asked(fold)) continue;
    throw_if_cancelled();
    at::Tensor factors = linalg::on_device_or_cpu(device, [&](at::Device place) {
      const at::Tensor largest = ranges.largest(fold.readers.front(), place);
      if (!largest.defined()) return at::Tensor();
      return smoothing_factors(largest, weight_max(checkpoint, fold, place), alpha).cpu();
    });
    if (!factors.defined()) continue;
    const FoldedRows& maker = fold.makers.front();
    const bool is_vector = fold.into == Fold::Into::kNorm || fold.into == Fold::Into::kModulation;
    if (fold.into == Fold::Into::kModulation) factors = of_mean_one(factors);
    const bool kept =
        !std::ranges::all_of(fold.readers, quantized) || (!is_vector && !quantized(maker.entry->layer()));
    if (kept) factors = power_of_two(factors);
    if (is_vector) factors = exact_for(maker, factors);
    smooth(checkpoint, fold, factors);
    ++inputs_;
  }
  for (const auto& [layer, factors] : stored) {
    const at::Tensor divisors = factors.cpu().to(at::kFloat).reciprocal();
    edits_[weight_of(checkpoint, layer).info].columns = divisors;
    factors_[layer] = divisors;
    ++inputs_;
  }
}

void Smoothing::smooth(const model::Checkpoint& checkpoint, const Fold& fold, at::Tensor factors) {
  for (const FoldedRows& maker : fold.makers)
    edits_[maker.entry->info].rows.push_back({maker.first, factors, maker.offset});
  for (const std::string& reader : fold.readers) {
    edits_[weight_of(checkpoint, reader).info].columns = factors;
    factors_[reader] = factors;
  }
}

at::Tensor Smoothing::apply(const Entry& entry, const at::Tensor& values) const {
  const auto found = edits_.find(entry.info);
  at::Tensor edited = values.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  if (found == edits_.end()) return edited;
  const Edit& edit = found->second;
  if (edit.columns.defined()) edited.mul_(edit.columns.to(edited.device()));
  for (const Rows& rows : edit.rows) {
    at::Tensor part = edited.narrow(0, rows.first, rows.factors.size(0));
    const at::Tensor factors = along_rows(rows.factors.to(edited.device()), part);
    if (rows.offset == 0) {
      part.div_(factors);
    } else {
      part.add_(rows.offset).div_(factors).sub_(rows.offset);
    }
  }
  return edited;
}

at::Tensor Smoothing::factors(std::string_view layer) const {
  const auto found = factors_.find(layer);
  return found == factors_.end() ? at::Tensor() : found->second;
}

std::string summary(const std::vector<Fold>& folds, const std::vector<std::string>& quantized,
                    const StoredFactors& stored) {
  std::map<Fold::Into, size_t> counts;
  std::set<std::string> smoothed;
  for (const Fold& fold : folds) {
    ++counts[fold.into];
    smoothed.insert(fold.readers.begin(), fold.readers.end());
  }
  std::vector<std::string> shares;
  for (const auto& [into, count] : counts) {
    shares.push_back(fmt::format("{} {}", count,
                                 into == Fold::Into::kNorm         ? "behind norms"
                                 : into == Fold::Into::kModulation ? "behind modulated norms"
                                 : into == Fold::Into::kValues     ? "of attention values"
                                                                   : "of gated MLPs"));
  }
  const auto left = std::ranges::count_if(
      quantized, [&](const auto& layer) { return !smoothed.contains(layer) && !stored.contains(layer); });
  std::vector<std::string> parts;
  if (!folds.empty() || stored.empty())
    parts.push_back(
        fmt::format("{} inputs are divided by what makes them ({})", folds.size(), fmt::join(shares, ", ")));
  if (!stored.empty())
    parts.push_back(fmt::format("layers with factors of their own (pre_quant_scale): {}", stored.size()));
  if (left > 0)
    parts.push_back(stored.empty()
                        ? fmt::format("{} quantized layers read inputs that nothing can divide", left)
                        : fmt::format("layers that are not smoothed: {}", left));
  return fmt::format("SmoothQuant: {}", fmt::join(parts, "; "));
}

}  // namespace ctq::transform
