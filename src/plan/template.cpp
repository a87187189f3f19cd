#include "plan/template.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace ctq::plan {
namespace {

using nlohmann::ordered_json;

/// An entry's settings that name the target and no other one.
ordered_json settings_of(const Target& target) {
  if (!target.codec) return {{"format", "fp16"}};
  ordered_json settings = {{"format", target.codec->format}};
  if (codec_of_format(target.codec->format, "") != target.codec)
    settings["scaling_mode"] = granularity_name(target.codec->granularity);
  if (target.block_size > 0) settings["block_size"] = target.block_size;
  if (target.rotation_group > 0) {
    settings["convrot"] = true;
    settings["convrot_groupsize"] = target.rotation_group;
  }
  if (target.linear_dtype == format::LinearDtype::kInt8) settings["linear_dtype"] = "int8";
  return settings;
}

ordered_json settings_of(const TensorPlan& tensor) {
  const bool changed =
      (tensor.decision == Decision::kQuantize || tensor.decision == Decision::kCast) && !tensor.recast;
  ordered_json settings = changed ? settings_of(tensor.target) : ordered_json{{"format", "keep"}};
  if (tensor.decision == Decision::kQuantize && tensor.full_precision_matrix_mult)
    settings["full_precision_matrix_mult"] = *tensor.full_precision_matrix_mult;
  settings["_shape"] = tensor.source->info->shape;
  settings["_reason"] = tensor.reason;
  return settings;
}

}  // namespace

std::string anchored_pattern(std::string_view text) {
  constexpr std::string_view kOperators = R"(\^$.|?*+()[]{})";
  std::string pattern = "^";
  for (const char c : text) {
    if (kOperators.find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + "$";
}

std::string template_json(const Plan& plan, const Options& options) {
  // Appended as to a list: no key comes twice, and looking for it would take quadratic time.
  ordered_json::object_t file, exclusions;
  file.emplace_back("_default", settings_of(options.target));
  for (const TensorPlan& tensor : plan.tensors) {
    const std::string layer(tensor.source->layer());
    if (tensor.candidate) {
      file.emplace_back(anchored_pattern(layer), settings_of(tensor));
    } else if (!layer.empty() && tensor.source->info->shape.size() == 2) {
      exclusions.emplace_back(tensor.source->name(), tensor.reason);
    }
  }
  file.emplace_back("_exclusions", std::move(exclusions));
  return ordered_json(std::move(file)).dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace ctq::plan
