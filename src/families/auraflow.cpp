// AuraFlow.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kAuraflowHighprec[] = {"t_embedder", "cond_seq_linear", "init_x_linear",
                                                  "final_linear", "modF."};

constexpr Signature kAuraflowSignatures[] = {
    {{"double_layers.0.attn.w1q", "cond_seq_linear", "init_x_linear", "single_layers.0"}},
};

constexpr std::string_view kAuraflowConfiguring[] = {"cond_seq_linear"};

}  // namespace

constinit const Preset kAuraflowPreset = {.name = "auraflow",
                                          .help =
                                              "AuraFlow. Time embedder, text and image input projections, "
                                              "final modulation and projection stay unquantized.",
                                          .category = "image",
                                          .ours = PatternLists{.highprec = kAuraflowHighprec}};

constinit const Family kAuraflow = {
    .name = "auraflow",
    .title = "AuraFlow",
    .kind = Kind::kDiffusion,
    .signatures = kAuraflowSignatures,
    .preset = &kAuraflowPreset,
    .comfyui = {.configuring = kAuraflowConfiguring},
};

}  // namespace ctq::families
