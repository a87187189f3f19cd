// MiniMax H3.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kMinimaxh3Highprec[] = {
    "audio_patch_proj", "condition_proj", "final_layer", "time_embedder", "token_refiner", "video_patch_proj",
};

constexpr Signature kMinimaxH3Signatures[] = {
    {{"video_patch_proj", "audio_patch_proj", "condition_proj", "token_refiner.blocks.0"}},
};

constexpr std::string_view kMinimaxH3Configuring[] = {"condition_proj", "time_embedder.proj_in"};

constexpr std::string_view kMinimaxH3ConfiguringRows[] = {"video_patch_proj", "time_embedder.proj_out",
                                                          "blocks.0.mlp.fc1", "final_layer.video_out",
                                                          "final_layer.audio_out"};

}  // namespace

constinit const Preset kMinimaxh3Preset = {
    .name = "minimaxh3",
    .help =
        "MiniMax H3 video transformer. Patch, condition, time, token-refiner and final layers stay "
        "unquantized.",
    .category = "video",
    .peer = PatternLists{.highprec = kMinimaxh3Highprec}};

constinit const Family kMinimaxH3 = {
    .name = "minimax_h3",
    .title = "MiniMax H3",
    .kind = Kind::kDiffusion,
    .signatures = kMinimaxH3Signatures,
    .preset = &kMinimaxh3Preset,
    .comfyui = {.configuring = kMinimaxH3Configuring,
                .configuring_rows = kMinimaxH3ConfiguringRows,
                .encoders = inside::kQwen3Vl32b},
};

}  // namespace ctq::families
