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
#include "ctq/model/quantized.h"

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

/// A warning, or with --strict the end.
void remark(bool strict, const std::string& fact) {
  if (strict) fail(ErrorCode::kFailure, "{} (--strict)", fact);
  warn("{}", fact);
}

void report(const lora::Adapter& adapter, const lora::Matches& matches, const MergeOptions::File& file,
            const std::string& model, bool strict) {
  const size_t layers = adapter.layers().size();
  std::vector<std::string> ambiguous;
  for (const auto& [layer, what] : matches.ambiguous)
    ambiguous.push_back(fmt::format("{} (could be {})", layer, what));
  if (matches.matched.empty()) {
    const auto& names = !ambiguous.empty()           ? ambiguous
                        : !matches.unmatched.empty() ? matches.unmatched
                                                     : matches.left_out;
    fail(ErrorCode::kFailure, "{}: none of its {} layers is merged into {}: {}; --lora-map can name them",
         file.path, layers, model, listed(names));
  }
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
  const std::vector<double> strengths = read_strengths(arguments.text("merge_lora_scale"));
  if (options.files.empty()) {
    if (arguments.given("lora_only_to"))
      fail(ErrorCode::kUsage, "argument --lora-only-to: needs --merge-lora or --merge-loras");
    for (const std::string_view option : {"merge-lora-scale", "merge-lora-dampen", "lora-map"}) {
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
  if (const auto quantized = model::find_quantized(model); !quantized.empty())
    fail(ErrorCode::kBadInput,
         "{}: is quantized already ('{}' {}); a LoRA needs plain weights: add --requantize", model.path(),
         printable(quantized.begin()->first), quantized.begin()->second);
  std::vector<lora::Merge> merges;
  std::set<std::string, std::less<>> mapped;
  for (const MergeOptions::File& file : options.files) {
    try {
      const lora::Adapter& adapter = adapters_.emplace_back(file.path);
      lora::Matches matches = lora::match(adapter, model, options.map);
      report(adapter, matches, file, model.path(), strict);
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
