// Ideogram 4.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kIdeogram4Highprec[] = {
    "embed_image_indicator", "t_embedding", "llm_cond_proj", "adaln_proj", "final_layer", "input_proj",
};

constexpr Signature kIdeogram4Signatures[] = {
    {{"embed_image_indicator", "llm_cond_proj", "adaln_proj", "input_proj", "layers.0"}},
};

constexpr std::string_view kIdeogram4Tables[] = {"embed_image_indicator"};

constexpr std::string_view kIdeogram4Configuring[] = {"input_proj"};

}  // namespace

constinit const Preset kIdeogram4Preset = {
    .name = "ideogram4",
    .help =
        "Ideogram 4 transformer. Image indicator, time embedding, LLM condition projection, adaLN "
        "projection, final layer, input projection stay unquantized.",
    .category = "diffusion",
    .peer = PatternLists{.highprec = kIdeogram4Highprec}};

constinit const Family kIdeogram4 = {
    .name = "ideogram4",
    .title = "Ideogram 4",
    .kind = Kind::kDiffusion,
    .signatures = kIdeogram4Signatures,
    .preset = &kIdeogram4Preset,
    .structures = {&kZimageStructure},
    .comfyui = {.tables = kIdeogram4Tables,
                .configuring = kIdeogram4Configuring,
                .encoders = inside::kQwen3Vl8b},
};

}  // namespace ctq::families
