// PixArt alpha and sigma.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kPixartHighprec[] = {"t_block.",       "t_embedder",  "y_embedder",
                                                "csize_embedder", "ar_embedder", "final_layer"};

constexpr Signature kPixartSignatures[] = {
    {{"t_block.1", "y_embedder.y_proj", "blocks.0.cross_attn"}, {"genre_embedder"}},
};

constexpr Input kPixartInputs[] = {
    modulated_mlp("blocks.#.mlp.fc2", {"blocks.#.mlp.fc1"}, Activation::kGeluTanh),
};

constexpr Input kPixartDiffusersInputs[] = {
    modulated_mlp("transformer_blocks.#.ff.net.2", {"transformer_blocks.#.ff.net.0.proj"},
                  Activation::kGeluTanh),
};

}  // namespace

constinit const Structure kPixartStructure = {.present = {"blocks.#.scale_shift_table"},
                                              .inputs = kPixartInputs};

constinit const Structure kPixartDiffusersStructure = {
    .present = {"transformer_blocks.#.scale_shift_table", "pos_embed.proj.weight"},
    .inputs = kPixartDiffusersInputs};

constinit const Preset kPixartPreset = {.name = "pixart",
                                        .help =
                                            "PixArt alpha, sigma. Time modulation, time, text, size and "
                                            "ratio embedders and the final layer stay unquantized.",
                                        .category = "image",
                                        .ours = PatternLists{.highprec = kPixartHighprec}};

constinit const Family kPixart = {
    .name = "pixart",
    .title = "PixArt alpha, sigma",
    .kind = Kind::kDiffusion,
    .signatures = kPixartSignatures,
    .preset = &kPixartPreset,
    .structures = {&kPixartStructure},
};

}  // namespace ctq::families
