// What the user should know of the decisions.

#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/text.h"
#include "plan/router.h"

namespace ctq::plan {

std::vector<std::string> Router::notes() const {
  std::vector<std::string> notes;
  if (not_rotated_ > 0)
    notes.push_back(fmt::format("{} layer{} not rotated: the group does not divide the width", not_rotated_,
                                not_rotated_ == 1 ? " is" : "s are"));
  if (banks_not_rotated_ > 0)
    notes.push_back(fmt::format("{} not rotated: ComfyUI does not rotate experts in INT8 back",
                                banks_not_rotated_ == 1
                                    ? "1 bank of experts is"
                                    : fmt::format("{} banks of experts are", banks_not_rotated_)));
  const bool heuristic = options_.heuristic || (options_.custom && options_.custom->heuristic);
  if (heuristic && !heuristic_used_) notes.push_back("the heuristic leaves no layer out");
  if (options_.kept_type && !recast_)
    notes.push_back("--output-dtype has no effect: no weight that stays unquantized is of another type");
  if (exclude_used_ && !exclude_decides_)
    notes.push_back(
        "--exclude-layers has no effect: --layer-config or --custom-layers takes all candidates that it "
        "matches");
  if (options_.quantize_embeddings && !table_used_)
    notes.push_back("--quantize-embeddings has no effect: no table of tokens is quantized");
  if (options_.quantize_convolutions)
    notes.push_back(convolution_used_
                        ? "convolutions become FP8 as they are: no loader reads scales of them"
                        : "--quantize-conv has no effect: no convolution is left by the filters");
  if (fallbacks_ > 0)
    notes.push_back(
        fmt::format("{} layer{} not fit the format and get INT8 or FP8 with a scale per row, '{}' first",
                    fallbacks_, fallbacks_ == 1 ? " does" : "s do", printable(first_fallback_)));
  if (options_.by_family && outside_ > 0)
    notes.push_back(
        fmt::format("no preset is known for this model: weights inside numbered blocks are quantized, {} "
                    "outside of them or "
                    "named like embedders, routers and the like stay",
                    outside_));
  if (!writes_all())
    for (std::string& sentence : misread()) notes.push_back(std::move(sentence));
  return notes;
}

std::vector<std::string> Router::warnings() const {
  return writes_all() ? misread() : std::vector<std::string>{};
}

std::vector<std::string> Router::misread() const {
  std::vector<std::string> sentences;
  for (const auto& [reason, misread] : misread_)
    sentences.push_back(fmt::format("{} weight{} {}, '{}' first: {}", misread.count,
                                    misread.count == 1 ? "" : "s",
                                    writes_all()         ? "will not load as meant"
                                    : misread.count == 1 ? "is kept"
                                                         : "are kept",
                                    printable(misread.first), reason));
  return sentences;
}

std::vector<std::string> Router::unused() const {
  std::vector<std::string> sentences;
  for (size_t i = 0; i < entry_used_.size(); ++i) {
    if (entry_used_[i]) continue;
    sentences.push_back(fmt::format("--layer-config entry '{}' matches no candidate",
                                    printable(options_.layer_config->entries()[i].rule.name)));
  }
  if (options_.custom && !custom_used_) {
    sentences.push_back(
        fmt::format("--custom-layers '{}' matches no candidate", options_.custom->pattern.text()));
  }
  if (options_.exclude_layers && !exclude_used_) {
    sentences.push_back(
        fmt::format("--exclude-layers '{}' matches no candidate", options_.exclude_layers->text()));
  }
  const auto unused_words = [&](std::span<const std::string> words, bool used, std::string_view fate) {
    if (!used && !words.empty() && options_.names_unused_words)
      sentences.push_back(fmt::format("no name holds any of the words whose tensors are {}: {}", fate,
                                      fmt::join(words, ", ")));
  };
  unused_words(options_.keep_containing, keep_used_, "kept");
  unused_words(options_.remove_containing, remove_used_, "left out");
  for (const std::string& preset : presets_.unused()) {
    sentences.push_back(fmt::format("preset --{} protects nothing in this file", preset));
  }
  return sentences;
}

}  // namespace ctq::plan
