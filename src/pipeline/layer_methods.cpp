#include "pipeline/layer_methods.h"

#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "model/weight_shape.h"

namespace ctq::pipeline {
namespace {

std::string_view words_of(calibrate::Implied kind) {
  switch (kind) {
    case calibrate::Implied::kNorm: return "behind a norm";
    case calibrate::Implied::kValues: return "attention outputs";
    case calibrate::Implied::kActivation: return "behind an activation";
    case calibrate::Implied::kNothing: break;
  }
  return "";
}

}  // namespace

std::string LayerMethods::Choice::label() const {
  const optimize::Optimizer& optimizer = *settings.optimizer;
  if (!optimizer.needs.implied) return std::string(optimizer.name);
  const std::string_view directions = lora ? " and LoRA" : "";
  if (optimizer.names_itself)
    return recorded || source.empty() ? fmt::format("{}{}", optimizer.name, directions)
                                      : fmt::format("{} ({}){}", optimizer.name, source, directions);
  if (recorded) return "gptq";
  return source.empty() ? fmt::format("direct{}", directions)
                        : fmt::format("implied ({}){}", source, directions);
}

LayerMethods::Choice LayerMethods::choice(const plan::TensorPlan& tensor) const {
  Choice choice;
  choice.settings = run_;
  const plan::Target& target = tensor.target;
  optimize::Settings& settings = choice.settings;
  if (target.optimizer) settings.optimizer = target.optimizer;
  if (target.num_iter) settings.learned.iterations = settings.adaround.iterations = *target.num_iter;
  if (settings.optimizer->learner && settings.learned.iterations == 0)
    settings.optimizer = &optimize::kNearest;
  const optimize::Optimizer& optimizer = *settings.optimizer;
  if (!optimizer.incoherent) settings.segments = 1;  // --quip-checkpointed
  const std::string_view layer = tensor.source->layer();
  choice.recorded = optimizer.needs.recorded && recording_ && recording_->has_second_moment(layer);
  if (choice.recorded || optimizer.needs.implied) {
    choice.source = implied_.source(layer);
    choice.implied = implied_.form(layer);
  }
  choice.lora = !choice.recorded && lora_ && optimizer.needs.moment &&
                lora_->has(layer, model::weight_shape(*tensor.source).in_features);
  return choice;
}

std::string LayerMethods::summary(const plan::Plan& plan) const {
  std::map<std::string, size_t> methods;
  std::map<std::string_view, size_t> kinds;
  for (const plan::TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != plan::Decision::kQuantize) continue;
    const Choice found = choice(tensor);
    const bool quip = found.settings.optimizer->incoherent;
    const int64_t segments =
        optimize::segments_of(found.settings, model::weight_shape(*tensor.source).in_features);
    const bool implied = !found.recorded && !found.source.empty();
    ++methods[segments > 1 ? fmt::format("quip in {} segments of columns", segments)
              : quip       ? "quip"
              : !implied   ? found.label()
              : found.lora ? "implied and LoRA"
                           : "implied"];
    if (implied && !found.lora) ++kinds[words_of(found.implied.kind)];
  }
  if (methods.empty() || (methods.size() == 1 && methods.contains("rtn"))) return "";
  std::vector<std::string> words;
  for (const auto& [method, count] : methods) {
    std::vector<std::string> shares;
    if (method == "implied") {
      for (const auto& [kind, of] : kinds) shares.push_back(fmt::format("{} {}", of, kind));
    }
    words.push_back(fmt::format("{} for {} layer{}{}", method, count, count == 1 ? "" : "s",
                                shares.empty() ? "" : fmt::format(" ({})", fmt::join(shares, ", "))));
  }
  return fmt::format("optimizer {}: {}", run_.optimizer->name, fmt::join(words, ", "));
}

}  // namespace ctq::pipeline
