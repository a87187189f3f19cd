#include "pipeline/format_choice.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/cancel.h"
#include "base/error.h"
#include "base/text.h"
#include "layer_rounding.h"
#include "placement.h"
#include "value_findings.h"

namespace ctq::pipeline {
namespace {

/// One way to store a layer: a format, or as it is.
struct Way {
  std::optional<plan::Target> target;
  uint64_t bytes = 0;
  double error = 0;
};

/// A step of one layer to the next way on its hull.
struct Step {
  size_t layer = 0;
  size_t to = 0;       ///< way on the layer's hull
  double gain = 0;     ///< of squared error, per byte
  uint64_t bytes = 0;  ///< more than before
};

/// The ways worth taking, smallest first: the lower convex hull of squared error over bytes.
std::vector<Way> hull_of(const MeasuredLayer& layer, uint64_t kept_bytes) {
  std::vector<Way> ways;
  for (const MeasuredFormat& format : layer.formats)
    ways.push_back({format.target, format.bytes, format.error});
  ways.push_back({std::nullopt, kept_bytes, 0});
  std::ranges::stable_sort(ways, [](const Way& a, const Way& b) {
    return std::pair(a.bytes, a.error) < std::pair(b.bytes, b.error);
  });
  const auto slope = [](const Way& from, const Way& to) {
    return (from.error * from.error - to.error * to.error) / static_cast<double>(to.bytes - from.bytes);
  };
  std::vector<Way> hull;
  for (const Way& way : ways) {
    if (!hull.empty() && (way.error >= hull.back().error || way.bytes == hull.back().bytes)) continue;
    while (hull.size() > 1 && slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), way))
      hull.pop_back();
    hull.push_back(way);
  }
  return hull;
}

class Chooser {
 public:
  Chooser(const model::Checkpoint& checkpoint, const plan::Options& options, const RunOptions& run,
          Events& events)
      : checkpoint_(checkpoint),
        options_(options),
        run_(run),
        events_(events),
        name_(std::filesystem::path(run.output).filename().string()),
        rounding_(checkpoint, run, /*smoothing=*/nullptr),
        placement_(run.device, run.memory) {
    for (const plan::Target& target : plan::formats_from(options.target)) {
      plan::Options one = options;
      one.target = target;
      plans_.push_back(plan::make_plan(checkpoint, one, name_));
    }
  }

  FormatChoice by_error(double max_error) {
    FormatChoice choice;
    double least = 0;
    size_t quantized = 0;
    measure(
        [&](const MeasuredLayer& layer) {
          const MeasuredFormat& last = layer.formats.back();
          if (least == 0 || last.error < least) least = last.error;
          if (last.error > max_error) {
            choice.chosen[layer.name] = {
                std::nullopt,
                fmt::format("error {:.4g} in {}, above {:.4g}", last.error, last.target.label(), max_error)};
            return;
          }
          take(choice, layer.name, last);
          ++quantized;
        },
        [&](const MeasuredFormat& format) { return format.error <= max_error; });
    if (quantized == 0)
      fail(ErrorCode::kQuality,
           "argument --max-error: no layer stays below it; the least error is {:.4g} (got '{:.4g}')", least,
           max_error);
    return choice;
  }

  FormatChoice by_size(uint64_t target_bytes) {
    std::vector<std::string> names;
    std::vector<std::vector<Way>> hulls;
    measure(
        [&](const MeasuredLayer& layer) {
          names.push_back(layer.name);
          hulls.push_back(hull_of(layer, layer.tensor->bytes_in()));
        },
        [](const MeasuredFormat&) { return false; });
    std::vector<size_t> at(names.size(), 0);
    const auto planned_bytes = [&] {
      plan::Options options = options_;
      options.measured = chosen(names, hulls, at).chosen;
      options.allow_empty = true;
      return plan::make_plan(checkpoint_, options, name_, unheld_).bytes_out;
    };
    uint64_t bytes = planned_bytes();
    if (bytes > target_bytes)
      fail(ErrorCode::kQuality,
           "argument --target-size: the smallest file that these formats give has {} bytes ({}) (got '{}')",
           bytes, human_bytes(bytes), target_bytes);
    std::vector<Step> taken;
    for (const Step& step : steps_of(hulls)) {
      if (step.to != at[step.layer] + 1 || bytes + step.bytes > target_bytes) continue;
      at[step.layer] = step.to;
      bytes += step.bytes;
      taken.push_back(step);
    }
    // Markers and the header differ too.
    while (!taken.empty() && planned_bytes() > target_bytes) {
      at[taken.back().layer] = taken.back().to - 1;
      taken.pop_back();
    }
    return chosen(names, hulls, at);
  }

 private:
  /// Every layer that the plan's own target would reach, in the order of the file's names.
  template <typename Done, typename Enough>
  void measure(const Done& done, const Enough& enough) {
    const auto concerned = [&](const plan::TensorPlan& tensor) {
      return tensor.decision == plan::Decision::kQuantize && tensor.by_target && !tensor.shape_fallback;
    };
    const auto count = static_cast<size_t>(std::ranges::count_if(plans_.front().tensors, concerned));
    size_t index = 0;
    for (const plan::TensorPlan& tensor : plans_.front().tensors) {
      if (!concerned(tensor)) continue;
      throw_if_cancelled();
      const at::Tensor weight = model::load(*tensor.source);
      MeasuredLayer layer{.tensor = &tensor, .name = tensor.source->name(), .formats = {}};
      for (const plan::Plan& plan : plans_) {
        const plan::TensorPlan& planned = *plan.find(layer.name);
        if (planned.decision != plan::Decision::kQuantize || planned.shape_fallback) continue;
        const auto error = error_of(planned, weight);
        if (!error) continue;  // where no format holds it, the conversion says so
        layer.formats.push_back({planned.target, planned.bytes_out(), *error});
        if (enough(layer.formats.back())) break;
      }
      tensor.source->file->release(*tensor.source->info);
      ++index;
      if (layer.formats.empty()) {
        unheld_[layer.name] = "values that no format holds";
        continue;
      }
      events_.measured(layer, index, count);
      done(layer);
    }
  }

  /// As it would be stored; nothing where the format cannot hold it.
  std::optional<double> error_of(const plan::TensorPlan& planned, const at::Tensor& weight) {
    const LayerMethods::Choice choice = rounding_.methods().choice(planned);
    const LayerWork work = layer_work(planned, choice, run_, run_.device);
    return placement_.in_room(planned, work, [&](const Place& place) -> std::optional<double> {
      const at::Tensor there = weight.to(place.device);
      const auto outcome = rounding_.round(planned, there, {.layer_bytes = place.layer_bytes});
      if (!outcome || !encoding_fault(there, outcome->encoded).empty()) return std::nullopt;
      return rounding_.error(planned, there, *outcome);
    });
  }

  static void take(FormatChoice& choice, const std::string& name, const MeasuredFormat& format) {
    choice.chosen[name] = {format.target, fmt::format("measured error {:.4g}", format.error)};
    if (format.error <= choice.largest_error) return;
    choice.largest_error = format.error;
    choice.largest_error_of = name;
  }

  static std::vector<Step> steps_of(const std::vector<std::vector<Way>>& hulls) {
    std::vector<Step> steps;
    for (size_t layer = 0; layer < hulls.size(); ++layer) {
      for (size_t to = 1; to < hulls[layer].size(); ++to) {
        const Way& before = hulls[layer][to - 1];
        const Way& after = hulls[layer][to];
        const uint64_t more = after.bytes - before.bytes;
        const double gain = before.error * before.error - after.error * after.error;
        steps.push_back({layer, to, gain / static_cast<double>(more), more});
      }
    }
    std::ranges::stable_sort(steps, [](const Step& a, const Step& b) { return a.gain > b.gain; });
    return steps;
  }

  static FormatChoice chosen(const std::vector<std::string>& names,
                             const std::vector<std::vector<Way>>& hulls, const std::vector<size_t>& at) {
    FormatChoice choice;
    for (size_t i = 0; i < names.size(); ++i) {
      const Way& way = hulls[i][at[i]];
      if (way.target) {
        take(choice, names[i], {*way.target, way.bytes, way.error});
      } else {
        choice.chosen[names[i]] = {std::nullopt, "measured: worth its size as it is"};
      }
    }
    return choice;
  }

  const model::Checkpoint& checkpoint_;
  const plan::Options& options_;
  const RunOptions& run_;
  Events& events_;
  std::string name_;
  LayerRounding rounding_;
  Placement placement_;
  std::vector<plan::Plan> plans_;  ///< by format
  plan::ValueFindings unheld_;     ///< weights that the conversion is going to keep
};

}  // namespace

FormatChoice choose_formats(const model::Checkpoint& checkpoint, const plan::Options& options,
                            const RunOptions& run, const FormatGoal& goal, Events& events) {
  Chooser chooser(checkpoint, options, run, events);
  return goal.max_error ? chooser.by_error(*goal.max_error) : chooser.by_size(goal.target_bytes.value());
}

}  // namespace ctq::pipeline
