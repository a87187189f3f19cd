// Presets that are no family's own.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kVisualExclude[] = {"mlp.down_proj", "mlp.up_proj", "mlp.gate_proj"};

constexpr std::string_view kLoraExclude[] = {"alpha", "scale"};

}  // namespace

constinit const Preset kVisualPreset = {
    .name = "visual",
    .help =
        "Vision tower of a text/vision encoder. The three MLP projections (down, up, gate) stay "
        "unquantized.",
    .category = "text",
    .from_seed = true,
    .text_encoder = true,
    .seed = PatternLists{.exclude = kVisualExclude},
    .peer = PatternLists{.exclude = kVisualExclude}};

constinit const Preset kLoraPreset = {
    .name = "lora",
    .help =
        "A LoRA adapter file. Alpha and scale tensors stay as they are; the up/down (A/B) matrices are "
        "quantized.",
    .category = "diffusion",
    .from_seed = true,
    .seed = PatternLists{.exclude = kLoraExclude}};

constinit const Preset kGenericTextPreset = {
    .name = "generic_text",
    .help =
        "Marks the file as a text encoder (the legacy layout then has scale_input) without protecting any "
        "layer by itself.",
    .category = "text",
    .text_encoder = true,
    .peer = PatternLists{}};

}  // namespace ctq::families
