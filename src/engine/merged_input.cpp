#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/inputs.h"
#include "lora/match.h"
#include "model/layer_names.h"
#include "quantized/evidence.h"

namespace ctq::engine {
namespace {

constexpr size_t kListed = 20;  // names in a warning

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

/// Layers of a LoRA that match nothing, of those that count.
struct Share {
  std::ptrdiff_t lost = 0, all = 0;

  bool is_too_small() const { return 2 * lost >= all; }
};

/// Layers of another model of the pipeline do not count: those of text encoders where none of them is in the
/// model, and the others where only text encoders' are.
Share share_of(const lora::Matches& matches) {
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
  const auto lost = lost_others + lost_text;
  return {.lost = lost, .all = of_others + of_text + lost};
}

/// A warning, or with --strict the end.
void remark(bool strict, const std::string& fact) {
  if (strict) fail(ErrorCode::kFailure, "{} (--strict)", fact);
  warn("{}", fact);
}

/// throws  Error(kFailure) for an adapter of which nothing is merged, or half or more is not where all has to
///         be
void report(const lora::Adapter& adapter, const lora::Matches& matches, const Merging::File& file,
            const std::string& model, const Job& job) {
  const Loras& loras = job.settings.loras;
  const bool strict = job.strict;
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
    fail(ErrorCode::kFailure, "{}: none of its {} layers is merged into {}: {}; {} can name them", file.path,
         layers, model, listed(names), loras.map);
  }
  if (const Share share = share_of(matches); share.is_too_small() && !job.merging.allow_partial)
    fail(ErrorCode::kFailure,
         "{}: {} of {} layers match nothing in {}: {}; is it for another model? {} can name them, {} merges "
         "the rest",
         file.path, share.lost, share.all, model, listed(matches.unmatched), loras.map, loras.allow_partial);
  spdlog::info("LoRA {}: {} of {} layers, strength {:.6g}{}", file.path, matches.matched.size(), layers,
               file.strength,
               matches.left_out.empty() ? "" : fmt::format(", {} left out", matches.left_out.size()));
  if (!matches.unmatched.empty())
    remark(strict, fmt::format("{}: {} of its {} layers are not in the model and are not merged: {}",
                               file.path, matches.unmatched.size(), layers, listed(matches.unmatched)));
  if (!ambiguous.empty())
    remark(strict, fmt::format("{}: {} of its {} layers fit more than one place and are not merged: {}; {} "
                               "can decide",
                               file.path, ambiguous.size(), layers, listed(ambiguous), loras.map));
}

}  // namespace

MergedInput::MergedInput(const model::Checkpoint& model, const Job& job) {
  const Merging& merging = job.merging;
  const quantized::QuantizedFile stored = quantized::find_layers(model);
  if (const auto found = quantized::evidence(stored); !found.empty())
    fail(ErrorCode::kBadInput, "{}: is quantized already ('{}' {}); {}", model.path(),
         printable(found.begin()->first), found.begin()->second,
         quantized::way_out_of(
             stored, fmt::format("a LoRA needs plain weights: add {}", job.settings.input.requantize)));
  std::vector<lora::Merge> merges;
  std::set<std::string, std::less<>> mapped;
  bool partial = false;
  for (const Merging::File& file : merging.files) {
    try {
      const lora::Adapter& adapter = adapters_.emplace_back(file.path);
      lora::Matches matches = lora::match(adapter, model, merging.map);
      report(adapter, matches, file, model.path(), job);
      partial |= share_of(matches).is_too_small();
      for (const lora::AdapterLayer& layer : adapter.layers()) mapped.insert(layer.name);
      merges.push_back({&adapter, file.strength, std::move(matches.matched)});
    } catch (const Error& error) {
      fail(error.code(), "argument {}: {}", file.label, error.what());
    }
  }
  const Setting<bool>& allow_partial = job.settings.loras.allow_partial;
  if (allow_partial.given() && !partial)
    spdlog::info("note: {} has no effect: more than half of the layers of each LoRA match", allow_partial);
  std::vector<std::string> unused;
  for (const auto& [layer, target] : merging.map) {
    if (!mapped.contains(layer)) unused.push_back(layer);
  }
  if (!unused.empty())
    remark(job.strict, fmt::format("{}: no LoRA has the layers {}", job.settings.loras.map, listed(unused)));
  view_.emplace(model, merges);
}

}  // namespace ctq::engine
