// PixArt alpha and sigma.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kPixartHighprec[] = {"t_block.",       "t_embedder",  "y_embedder",
                                                "csize_embedder", "ar_embedder", "final_layer"};

constexpr Signature kPixartSignatures[] = {
    {{"t_block.1", "y_embedder.y_proj", "blocks.0.cross_attn"}, {"genre_embedder"}},
};

}  // namespace

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
};

}  // namespace ctq::families
