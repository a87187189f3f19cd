#include "lora_merging.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cli/options/option_file.h"
#include "ctq/base/error.h"
#include "ctq/base/log.h"
#include "ctq/base/text.h"
#include "ctq/model/layer_names.h"
#include "ctq/quantized/evidence.h"

namespace ctq::cli {
namespace {

constexpr double kDampening = 0.9;  // of each LoRA against the one before
constexpr size_t kListed = 20;      // names in a warning

/// "0.8" or "1.0,0.6".
std::vector<double> read_strengths(const std::string& text) {
  std::vector<double> strengths;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    double value = 0;
    const auto [end, fault] = std::from_chars(text.data() + at, text.data() + comma, value);
    if (fault != std::errc() || end != text.data() + comma || !std::isfinite(value))
      fail(ErrorCode::kUsage, "argument --merge-lora-scale: is not a number or a comma list (got '{}')",
           text);
    strengths.push_back(value);
    at = comma + 1;
  }
  return strengths;
}

lora::LayerMap read_map(const std::string& path) {
  const std::string text = read_option_file("--lora-map", path);
  const nlohmann::json root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    fail(ErrorCode::kBadInput, "argument --lora-map: {}: is not a JSON object of layers", path);
  lora::LayerMap map;
  for (const auto& [layer, target] : root.items()) {
    if (!target.is_string() && !target.is_null())
      fail(ErrorCode::kBadInput, "argument --lora-map: {}: '{}' is neither a layer's name nor null", path,
           printable(layer));
    map[layer] = target.is_null() ? "" : target.get<std::string>();
  }
  return map;
}

std::string listed(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    if (shown.size() < kListed) shown.push_back(printable(name));
  }
  if (names.size() > shown.size()) shown.push_back(fmt::format("and {} more", names.size() - shown.size()));
  return fmt::format("{}", fmt::join(shown, ", "));
}

/// The model of a pipeline that a layer of an adapter says it is of.
bool of_text_encoder(std::string_view layer) {
  const std::string_view prefix = model::adapter_prefix(layer);
  return prefix.starts_with("lora_te") || prefix.starts_with("text_encoder") || prefix == "lora_prior_te_";
}

/// Refuses a LoRA of which half or more matches nothing. Layers of another model of the pipeline do not
/// count: those of text encoders where none of them is in the model, and the others where only text encoders'
/// are.
void check_share(const lora::Matches& matches, const std::string& path, const std::string& model) {
  const auto count = [&](bool of_text) {
    const auto matched = std::ranges::count(matches.matched, of_text, [](const lora::Match& match) {
      return of_text_encoder(match.layer->name);
    });
    const auto unmatched = std::ranges::count(
        matches.unmatched, of_text, [](const std::string& layer) { return of_text_encoder(layer); });
    return matched == 0 ? std::pair{matched, decltype(unmatched){0}} : std::pair{matched, unmatched};
  };
  const auto [of_others, lost_others] = count(false);
  const auto [of_text, lost_text] = count(true);
  const auto lost = lost_others + lost_text, all = of_others + of_text + lost;
  if (2 * lost < all) return;
  fail(ErrorCode::kFailure,
       "{}: {} of {} layers match nothing in {}: {}; is it for another model? --lora-map can name them, "
       "--allow-partial-lora merges the rest",
       path, lost, all, model, listed(matches.unmatched));
}

/// A warning, or with --strict the end.
void remark(bool strict, const std::string& fact) {
  if (strict) fail(ErrorCode::kFailure, "{} (--strict)", fact);
  warn("{}", fact);
}

void report(const lora::Adapter& adapter, const lora::Matches& matches, const MergeOptions::File& file,
            const std::string& model, bool strict, bool allow_partial) {
  const size_t layers = adapter.layers().size();
  std::vector<std::string> ambiguous;
  for (const auto& [layer, what] : matches.ambiguous)
    ambiguous.push_back(fmt::format("{} (could be {})", layer, what));
  if (const auto& embeddings = adapter.embeddings(); !embeddings.empty())
    remark(strict, fmt::format("{}: {} tensors of textual inversions belong to no layer and are left out: {}",
                               file.path, embeddings.size(), listed(embeddings)));
  if (matches.matched.empty()) {
    const auto& names = !ambiguous.empty()           ? ambiguous
                        : !matches.unmatched.empty() ? matches.unmatched
                                                     : matches.left_out;
    fail(ErrorCode::kFailure, "{}: none of its {} layers is merged into {}: {}; --lora-map can name them",
         file.path, layers, model, listed(names));
  }
  if (!allow_partial) check_share(matches, file.path, model);
  spdlog::info("LoRA {}: {} of {} layers, strength {:.6g}{}", file.path, matches.matched.size(), layers,
               file.strength,
               matches.left_out.empty() ? "" : fmt::format(", {} left out", matches.left_out.size()));
  if (!matches.unmatched.empty())
    remark(strict, fmt::format("{}: {} of its {} layers are not in the model and are not merged: {}",
                               file.path, matches.unmatched.size(), layers, listed(matches.unmatched)));
  if (!ambiguous.empty())
    remark(strict, fmt::format("{}: {} of its {} layers fit more than one place and are not merged: {}; "
                               "--lora-map can decide",
                               file.path, ambiguous.size(), layers, listed(ambiguous)));
}

}  // namespace

MergeOptions read_merging(const Arguments& arguments, std::vector<std::string>& notes) {
  MergeOptions options;
  for (const std::string& path : arguments.list("merge_loras"))
    options.files.push_back({.path = path, .option = "--merge-loras"});
  if (arguments.given("merge_lora"))
    options.files.push_back({.path = arguments.text("merge_lora"), .option = "--merge-lora"});
  options.only_to = arguments.text("lora_only_to");
  options.allow_partial = arguments.flag("allow_partial_lora");
  const std::vector<double> strengths = read_strengths(arguments.text("merge_lora_scale"));
  if (options.files.empty()) {
    if (arguments.given("lora_only_to"))
      fail(ErrorCode::kUsage, "argument --lora-only-to: needs --merge-lora or --merge-loras");
    for (const std::string_view option :
         {"merge-lora-scale", "merge-lora-dampen", "lora-map", "allow-partial-lora"}) {
      std::string key(option);
      std::ranges::replace(key, '-', '_');
      if (arguments.given(key))
        notes.push_back(fmt::format("--{} has no effect without --merge-lora", option));
    }
    return options;
  }
  if (strengths.size() != 1 && strengths.size() != options.files.size())
    fail(ErrorCode::kUsage, "argument --merge-lora-scale: has {} numbers for {} LoRAs (got '{}')",
         strengths.size(), options.files.size(), arguments.text("merge_lora_scale"));
  double share = 1;
  for (size_t i = 0; i < options.files.size(); ++i) {
    options.files[i].strength = share * (strengths.size() == 1 ? strengths[0] : strengths[i]);
    if (arguments.flag("merge_lora_dampen")) share *= kDampening;
  }
  if (arguments.given("merge_loras") && arguments.given("merge_lora"))
    notes.emplace_back("--merge-lora comes after those of --merge-loras");
  if (arguments.given("lora_map")) options.map = read_map(arguments.text("lora_map"));
  for (const std::string_view option : {"output", "dry_run", "report"}) {
    if (!options.only_to.empty() && arguments.given(option))
      fail(ErrorCode::kUsage, "argument --lora-only-to: writes the merged model alone, without --{}",
           option == "dry_run" ? "dry-run" : option);
  }
  return options;
}

MergedInput::MergedInput(const model::Checkpoint& model, const MergeOptions& options, bool strict,
                         bool verbose) {
  const quantized::QuantizedFile stored = quantized::find_layers(model);
  if (const auto found = quantized::evidence(stored); !found.empty())
    fail(ErrorCode::kBadInput, "{}: is quantized already ('{}' {}); {}", model.path(),
         printable(found.begin()->first), found.begin()->second,
         quantized::way_out_of(stored, "a LoRA needs plain weights: add --requantize"));
  std::vector<lora::Merge> merges;
  std::set<std::string, std::less<>> mapped;
  for (const MergeOptions::File& file : options.files) {
    try {
      const lora::Adapter& adapter = adapters_.emplace_back(file.path);
      lora::Matches matches = lora::match(adapter, model, options.map);
      report(adapter, matches, file, model.path(), strict, options.allow_partial);
      for (const lora::AdapterLayer& layer : adapter.layers()) mapped.insert(layer.name);
      merges.push_back({&adapter, file.strength, std::move(matches.matched)});
    } catch (const Error& error) {
      fail(error.code(), "argument {}: {}", file.option, error.what());
    }
  }
  std::vector<std::string> unused;
  for (const auto& [layer, target] : options.map) {
    if (!mapped.contains(layer)) unused.push_back(layer);
  }
  if (!unused.empty()) remark(strict, fmt::format("--lora-map: no LoRA has the layers {}", listed(unused)));
  view_.emplace(model, merges);
  if (!verbose) return;
  for (const auto& [tensor, layers] : view_->changed())
    spdlog::info("LoRA: {} <- {}", printable(tensor), printable(fmt::format("{}", fmt::join(layers, ", "))));
}

}  // namespace ctq::cli
