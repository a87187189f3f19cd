// HiDream I1 and O1.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kHidreamHighprec[] = {"caption_projection", "t_embedder", "p_embedder",
                                                 "x_embedder", "final_layer"};

constexpr std::string_view kHidreamO1Highprec[] = {"visual.", "embed_tokens", "t_embedder1", "x_embedder",
                                                   "final_layer2"};

constexpr Signature kHidreamSignatures[] = {
    {{"caption_projection.0.linear", "double_stream_blocks.0.block", "p_embedder.pooled_embedder.linear_1"}},
};

// The gates of its experts are bare parameters.
constexpr std::string_view kHidreamPlain[] = {"double_stream_blocks.#.block.ff_i.gate",
                                              "single_stream_blocks.#.block.ff_i.gate"};

constexpr Signature kHidreamO1Signatures[] = {
    {{"t_embedder1.mlp.0", "x_embedder.proj1", "final_layer2.linear"}},
};

constexpr std::string_view kHidreamO1Tables[] = {"visual.pos_embed", "language_model.embed_tokens"};

}  // namespace

constinit const Preset kHidreamPreset = {.name = "hidream",
                                         .help =
                                             "HiDream I1. Text projections, time, pooled and patch embedders "
                                             "and the final layer stay unquantized.",
                                         .category = "image",
                                         .ours = PatternLists{.highprec = kHidreamHighprec}};

constinit const Preset kHidreamO1Preset = {.name = "hidream_o1",
                                           .help =
                                               "HiDream O1. Vision tower, word embeddings, time and patch "
                                               "embedders and the final layer stay unquantized.",
                                           .category = "image",
                                           .ours = PatternLists{.highprec = kHidreamO1Highprec}};

constinit const Family kHidream = {
    .name = "hidream",
    .title = "HiDream I1",
    .kind = Kind::kDiffusion,
    .signatures = kHidreamSignatures,
    .preset = &kHidreamPreset,
    .comfyui = {.plain = kHidreamPlain},
};

constinit const Family kHidreamO1 = {
    .name = "hidream_o1",
    .title = "HiDream O1",
    .kind = Kind::kDiffusion,
    .signatures = kHidreamO1Signatures,
    .preset = &kHidreamO1Preset,
    .structures = {&kLlamaStructure},
    .comfyui = {.tables = kHidreamO1Tables},
};

}  // namespace ctq::families
