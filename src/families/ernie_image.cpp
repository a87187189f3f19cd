// ERNIE-Image.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kErnieImageHighprec[] = {"text_proj", "time_embedding", "adaLN_modulation",
                                                    "final_norm", "final_linear"};

constexpr Signature kErnieImageSignatures[] = {
    {{"layers.0.mlp.linear_fc2", "text_proj", "time_embedding.linear_1", "final_linear"}},
};

}  // namespace

constinit const Preset kErnieImagePreset = {
    .name = "ernie_image",
    .help =
        "ERNIE-Image. Text projection, time embedding, the modulation of all blocks and the final layers "
        "stay unquantized.",
    .category = "image",
    .ours = PatternLists{.highprec = kErnieImageHighprec}};

constinit const Family kErnieImage = {
    .name = "ernie_image",
    .title = "ERNIE-Image",
    .kind = Kind::kDiffusion,
    .signatures = kErnieImageSignatures,
    .preset = &kErnieImagePreset,
    .comfyui = {.encoders = inside::kMinistral},
};

}  // namespace ctq::families
