#include <algorithm>
#include <array>

#include "lora/adapter.h"

namespace ctq::lora {
namespace {

struct Spelling {
  std::string_view text;
  Part part;
};

/// Whole endings.
constexpr Spelling kEndings[] = {
    {".lora.down.weight", Part::kDown},
    {".lora.up.weight", Part::kUp},
    {"_lora.down.weight", Part::kDown},
    {"_lora.up.weight", Part::kUp},
    {".lora_linear_layer.down.weight", Part::kDown},
    {".lora_linear_layer.up.weight", Part::kUp},
    {".lora_mid.weight", Part::kMid},
    {".alpha", Part::kAlpha},
    {".dora_scale", Part::kDoraScale},
    {".diff", Part::kDiff},
    {".w_norm", Part::kDiff},
    {".diff_b", Part::kDiffBias},
    {".b_norm", Part::kDiffBias},
    {".down.weight", Part::kDown},
    {".up.weight", Part::kUp},
};

/// Components that an adapter's name of PEFT and "weight" may follow: .lora_A, .lora_A.weight,
/// .lora_A.default.weight.
constexpr Spelling kComponents[] = {
    {"lora_A", Part::kDown},
    {"lora_down", Part::kDown},
    {"lora_B", Part::kUp},
    {"lora_up", Part::kUp},
    {"lora_magnitude_vector", Part::kMagnitude},
    {"hada_w1_a", Part::kHadaW1A},
    {"hada_w1_b", Part::kHadaW1B},
    {"hada_t1", Part::kHadaT1},
    {"hada_w2_a", Part::kHadaW2A},
    {"hada_w2_b", Part::kHadaW2B},
    {"hada_t2", Part::kHadaT2},
    {"lokr_w1", Part::kLokrW1},
    {"lokr_w1_a", Part::kLokrW1A},
    {"lokr_w1_b", Part::kLokrW1B},
    {"lokr_w2", Part::kLokrW2},
    {"lokr_w2_a", Part::kLokrW2A},
    {"lokr_w2_b", Part::kLokrW2B},
    {"lokr_t2", Part::kLokrT2},
};

/// Splits off the last component: "a.b.c" leaves "a.b" and returns "c".
std::string_view take_last(std::string_view& name) {
  const size_t dot = name.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? name : name.substr(dot + 1);
  name = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
  return last;
}

std::optional<PartName> by_component(std::string_view name) {
  std::string_view rest = name;
  std::string_view word = take_last(rest);
  const bool bias = word == "bias";
  if (bias || word == "weight") word = take_last(rest);
  for (int skipped = 0; skipped < 2; ++skipped, word = take_last(rest)) {
    const auto* found = std::ranges::find(kComponents, word, &Spelling::text);
    if (found == std::end(kComponents)) continue;
    if (!bias) return PartName{rest, found->part};
    if (found->part == Part::kUp) return PartName{rest, Part::kUpBias};
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::optional<PartName> part_of(std::string_view name) {
  if (const auto found = by_component(name); found && !found->layer.empty()) return found;
  const auto* ending = std::ranges::find_if(
      kEndings, [&](const Spelling& candidate) { return name.ends_with(candidate.text); });
  if (ending == std::end(kEndings) || name.size() == ending->text.size()) return std::nullopt;
  name.remove_suffix(ending->text.size());
  return PartName{name, ending->part};
}

}  // namespace ctq::lora
