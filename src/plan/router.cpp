#include "router.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "families/sensitive.h"
#include "model/layer_names.h"
#include "model/weight_shape.h"

namespace ctq::plan {
namespace {

using safetensors::Dtype;

/// The first of the words that the name holds; nothing when it holds none.
std::optional<std::string_view> held_by(std::string_view name, std::span<const std::string> words) {
  const auto found = std::ranges::find_if(
      words, [&](const std::string& word) { return name.find(word) != std::string_view::npos; });
  return found == words.end() ? std::nullopt : std::optional<std::string_view>(*found);
}

int64_t shorter_side(const model::Checkpoint::Entry& entry) {
  const model::WeightShape shape = model::weight_shape(entry);
  return std::min(shape.out_features, shape.in_features);
}

/// Whether a candidate is a table of tokens.
bool is_table(const std::string& name) {
  return families::table_of(model::without_suffix(name, ".weight")) == families::Table::kTokens;
}

/// Whether a tensor is the weight of a convolution: [out_channels, in_channels, kernel ..].
bool is_convolution(const model::Checkpoint::Entry& entry) {
  constexpr int64_t kLargestKernel = 31;  // banks of experts are wider
  const std::vector<int64_t>& shape = entry.info->shape;
  return !entry.layer().empty() && shape.size() >= 3 && shape.size() <= 5 && entry.info->bytes() > 0 &&
         safetensors::is_float(entry.info->dtype) &&
         std::ranges::all_of(shape.begin() + 2, shape.end(),
                             [](int64_t side) { return side <= kLargestKernel; });
}

}  // namespace

Router::Router(const Options& options, const ValueFindings& findings, std::span<const std::string> names,
               const families::Parts& parts)
    : options_(options),
      findings_(findings),
      parts_(parts),
      presets_(options.presets, options.filter_set, names),
      entry_used_(options.layer_config ? options.layer_config->entries().size() : 0) {
  for (const std::string& name : options.presets) {
    const families::Preset* preset = families::find_preset(name);
    for (const families::PreservedDtype& row :
         preset ? preset->preserve_dtype : std::span<const families::PreservedDtype>())
      types_.push_back({plain_type(row.dtype).value(), Pattern(std::string(row.expression))});
  }
  if (!options.by_family || parts.adapter()) return;
  for (const families::Part& part : parts.all()) {
    if (!part.family || !part.family->preset) continue;
    const std::string preset(part.family->preset->name);
    of_families_.try_emplace(&part, std::span(&preset, 1), options.filter_set, names);
  }
}

TensorPlan Router::keep(const model::Checkpoint::Entry& entry, std::string reason) const {
  TensorPlan plan;
  plan.source = &entry;
  plan.decision = Decision::kKeep;
  plan.reason = std::move(reason);
  return plan;
}

std::string Router::not_a_candidate(const model::Checkpoint::Entry& entry) const {
  const safetensors::TensorInfo& info = *entry.info;
  if (entry.layer().empty()) return "not a weight";
  const bool bank = info.shape.size() == 3 && parts_.is_bank(entry.layer());
  if (info.shape.size() != 2 && !bank) return fmt::format("{}-D", info.shape.size());
  if (info.bytes() == 0) return "no elements";
  if (!safetensors::is_float(info.dtype))
    return fmt::format("element type {}", safetensors::dtype_name(info.dtype));
  if (shorter_side(entry) < 2) return "a vector in 2-D shape";
  const families::Table table = families::table_of(entry.layer());
  if (table == families::Table::kTokens && options_.quantize_embeddings) return "";
  if (table != families::Table::kNone) return "embedding table";
  return "";
}

TensorPlan Router::route(const model::Checkpoint::Entry& entry) { return in_kept_type(decide(entry)); }

TensorPlan Router::in_kept_type(TensorPlan plan) {
  const model::Checkpoint::Entry& entry = *plan.source;
  if (!options_.kept_type || plan.decision != Decision::kKeep || plan.value_fallback || !entry.is_matrix() ||
      !safetensors::is_float(entry.info->dtype))
    return plan;
  if (options_.keep_type && options_.keep_type->search(entry.name())) return plan;
  safetensors::Dtype type = *options_.kept_type;
  for (const TypeByName& row : types_) {
    if (!row.names.search(entry.name())) continue;
    const bool wider = safetensors::dtype_bits(row.type) > safetensors::dtype_bits(entry.info->dtype);
    type = wider ? entry.info->dtype : row.type;
    break;
  }
  if (type == entry.info->dtype) return plan;
  plan.decision = Decision::kCast;
  plan.recast = recast_ = true;
  plan.target = Target();
  plan.target.plain = type;
  plan.reason += ", as " + plan.target.label();
  return fit_to_values(std::move(plan));
}

TensorPlan Router::decide(const model::Checkpoint::Entry& entry) {
  keep_used_ |= held_by(entry.name(), options_.keep_containing).has_value();
  remove_used_ |= held_by(entry.name(), options_.remove_containing).has_value();
  if (const auto word = held_by(entry.name(), options_.remove_containing)) {
    TensorPlan plan = keep(entry, fmt::format("its name holds '{}'", *word));
    plan.decision = Decision::kRemove;
    return plan;
  }
  if (const auto hit = removed(entry.name())) {
    TensorPlan plan = keep(entry, fmt::format("preset {}: '{}'", hit->preset, hit->pattern));
    plan.decision = Decision::kRemove;
    return plan;
  }
  const std::string no_candidate = not_a_candidate(entry);
  const bool convolution = options_.quantize_convolutions && !no_candidate.empty() && is_convolution(entry);
  if (!no_candidate.empty() && options_.target.codec && !convolution) return keep(entry, no_candidate);
  if (const auto word = held_by(entry.name(), options_.keep_containing))
    return keep(entry, fmt::format("its name holds '{}'", *word));
  if (convolution) return route_convolution(entry);
  if (!no_candidate.empty()) return route_to_float16(entry);
  if (std::string reason = too_small(entry); !reason.empty()) return keep(entry, std::move(reason));
  TensorPlan plan = route_candidate(entry);
  plan.candidate = true;
  return plan;
}

std::optional<families::PresetHit> Router::removed(const std::string& name) {
  if (auto hit = presets_.removes(name)) return hit;
  const auto preset = of_families_.find(&parts_.of(name));
  return preset == of_families_.end() ? std::nullopt : preset->second.removes(name);
}

std::string Router::too_small(const model::Checkpoint::Entry& entry) const {
  if (static_cast<int64_t>(entry.info->numel()) < options_.min_elements)
    return fmt::format("fewer than {} elements", options_.min_elements);
  if (shorter_side(entry) < options_.min_side) return fmt::format("a side below {}", options_.min_side);
  return "";
}

TensorPlan Router::route_to_float16(const model::Checkpoint::Entry& entry) {
  if (!safetensors::is_float(entry.info->dtype))
    return keep(entry, fmt::format("element type {}", safetensors::dtype_name(entry.info->dtype)));
  if (auto exclusion = excluded(entry.name())) return keep(entry, std::move(*exclusion));
  TensorPlan plan = keep(entry, "target");
  plan.target = options_.target;
  plan.decision = Decision::kCast;
  return fit_to_values(fit_to_shape(std::move(plan), /*heuristic=*/false));
}

TensorPlan Router::route_convolution(const model::Checkpoint::Entry& entry) {
  const families::Kind kind = parts_.of(entry.name()).kind;
  if (kind != families::Kind::kDiffusion && kind != families::Kind::kOther)
    return keep(entry, "a convolution outside of the diffusion model");
  if (static_cast<int64_t>(entry.info->numel()) < options_.min_elements)
    return keep(entry, fmt::format("fewer than {} elements", options_.min_elements));
  constexpr int64_t kFewChannels = 16;
  if (std::min(entry.info->shape[0], entry.info->shape[1]) <= kFewChannels)
    return keep(entry, "a convolution of few channels: of pictures, latents, or each on its own");
  if (auto exclusion = excluded(entry.name())) return keep(entry, std::move(*exclusion));
  TensorPlan plan = keep(entry, "a convolution, without scale");
  plan.decision = Decision::kCast;
  plan.target.plain = options_.target.codec->format == "float8_e5m2" ? Dtype::kF8E5M2 : Dtype::kF8E4M3;
  convolution_used_ = true;
  return fit_to_values(std::move(plan));
}

TensorPlan Router::route_candidate(const model::Checkpoint::Entry& entry) {
  Choice choice = choose(entry);
  TensorPlan plan = keep(entry, std::move(choice.reason));
  if (!choice.target) return plan;
  plan.target = *choice.target;
  plan.by_target = choice.by_target;
  plan.decision = plan.target.codec ? Decision::kQuantize : Decision::kCast;
  plan.full_precision_matrix_mult = choice.full_precision_matrix_mult;
  plan = fit_to_values(fit_to_client(fit_to_shape(std::move(plan), choice.heuristic)));
  table_used_ |= plan.decision == Decision::kQuantize && is_table(entry.name());
  return plan;
}

Router::Choice Router::choose(const model::Checkpoint::Entry& entry) {
  // All are asked, so that a pattern behind another's hit does not count as unused.
  const LayerRule* rule = configured(entry.layer());
  const bool custom = options_.custom && options_.custom->pattern.search(entry.name());
  custom_used_ |= custom;
  const std::optional<std::string> exclusion = excluded(entry.name(), /*overruled=*/rule || custom);

  if (rule) return follow(*rule);
  if (custom) {
    return {.target = options_.custom->target,
            .reason = "custom",
            .heuristic = options_.custom->heuristic,
            .full_precision_matrix_mult = options_.custom->full_precision_matrix_mult};
  }
  Choice choice{.target = options_.target,
                .reason = "target",
                .by_target = true,
                .heuristic = options_.heuristic,
                .full_precision_matrix_mult = {}};
  if (exclusion) {
    choice.target = options_.fallback;
    choice.by_target = false;
    choice.reason = options_.fallback ? fmt::format("fallback ({})", *exclusion) : *exclusion;
    return choice;
  }
  if (options_.layer_config && options_.layer_config->default_rule())
    return follow(*options_.layer_config->default_rule());
  if (const auto measured = options_.measured.find(entry.name()); measured != options_.measured.end()) {
    choice.target = measured->second.target;
    choice.reason = measured->second.reason;
    choice.by_target = false;
  }
  return choice;
}

Router::Choice Router::follow(const LayerRule& rule) const {
  std::optional<Target> target = rule.target;
  if (target && !target->optimizer) target->optimizer = options_.target.optimizer;  // --simple reaches it
  return {.target = target,
          .reason = fmt::format("layer-config '{}'", printable(rule.name)),
          .heuristic = options_.heuristic,
          .full_precision_matrix_mult = rule.full_precision_matrix_mult};
}

const LayerRule* Router::configured(std::string_view layer) {
  if (!options_.layer_config) return nullptr;
  const LayerRule* found = nullptr;
  const auto entries = options_.layer_config->entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (found && entry_used_[i]) continue;  // the rest is only asked to learn what is never used
    if (!options_.layer_config->matches(entries[i], layer)) continue;
    entry_used_[i] = true;
    if (!found) found = &entries[i].rule;
  }
  return found;
}

std::optional<std::string> Router::excluded(const std::string& name, bool overruled) {
  const bool by_pattern = options_.exclude_layers && options_.exclude_layers->search(name);
  exclude_used_ |= by_pattern;
  exclude_decides_ |= by_pattern && !overruled;
  const auto hit = presets_.protects(name);
  if (by_pattern) return "excluded by pattern";
  if (is_table(name) && options_.target.codec)
    return std::nullopt;  // asked for by name: a preset's "embed_tokens" is not
  if (hit) return fmt::format("preset {}: '{}'", hit->preset, hit->pattern);
  return kept_by_family(name);
}

std::optional<std::string> Router::kept_by_family(const std::string& name) {
  if (!options_.by_family || parts_.adapter()) return std::nullopt;
  const families::Part& part = parts_.of(name);
  if (const auto preset = of_families_.find(&part); preset != of_families_.end()) {
    const auto hit = preset->second.protects(name);
    return hit ? std::optional(fmt::format("preset {}: '{}'", hit->preset, hit->pattern)) : std::nullopt;
  }
  if (!part.numbered) return std::nullopt;
  const std::string_view layer =
      model::without_suffix(std::string_view(name).substr(part.prefix.size()), ".weight");
  const std::string_view word = families::sensitive_word(layer);
  if (families::in_block(layer) && word.empty()) return std::nullopt;
  const bool beside_another = part.kind != families::Kind::kDiffusion && parts_.diffusion();
  if (!beside_another) ++outside_;
  return word.empty() ? "outside of the model's blocks" : fmt::format("its name says '{}'", word);
}

}  // namespace ctq::plan
