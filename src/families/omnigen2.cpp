// OmniGen 2.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kOmnigen2Highprec[] = {"x_embedder", "ref_image_patch_embedder",
                                                  "time_caption_embed", "norm_out"};

constexpr Signature kOmnigen2Signatures[] = {
    {{"time_caption_embed.timestep_embedder.linear_1", "ref_image_patch_embedder", "ref_image_refiner.0",
      "layers.0.attn"},
     {"double_stream_layers.0"}},
};

}  // namespace

constinit const Preset kOmnigen2Preset = {.name = "omnigen2",
                                          .help =
                                              "OmniGen 2. Patch, reference, time and caption embedders and "
                                              "the output norm's linears stay unquantized.",
                                          .category = "image",
                                          .ours = PatternLists{.highprec = kOmnigen2Highprec}};

constinit const Family kOmnigen2 = {
    .name = "omnigen2",
    .title = "OmniGen 2",
    .kind = Kind::kDiffusion,
    .signatures = kOmnigen2Signatures,
    .preset = &kOmnigen2Preset,
    .comfyui = {.encoders = inside::kQwen25_3b},
};

}  // namespace ctq::families
