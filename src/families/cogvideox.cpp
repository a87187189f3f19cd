// CogVideoX.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kCogvideoxHighprec[] = {"patch_embed", "time_embedding", "ofs_embedding",
                                                   "norm_out", "proj_out"};

constexpr Signature kCogvideoxSignatures[] = {
    {{"patch_embed.text_proj", "blocks.0.norm1.linear", "time_embedding_linear_1"}},
};

constexpr std::string_view kCogvideoxConfiguring[] = {"patch_embed.proj", "patch_embed.text_proj",
                                                      "ofs_embedding_linear_1", "blocks.0.norm1.linear"};

}  // namespace

constinit const Preset kCogvideoxPreset = {.name = "cogvideox",
                                           .help =
                                               "CogVideoX. Patch, text, time and offset embeddings, final "
                                               "modulation and projection stay unquantized.",
                                           .category = "video",
                                           .ours = PatternLists{.highprec = kCogvideoxHighprec}};

constinit const Family kCogvideox = {
    .name = "cogvideox",
    .title = "CogVideoX 1.0, 1.5",
    .kind = Kind::kDiffusion,
    .signatures = kCogvideoxSignatures,
    .preset = &kCogvideoxPreset,
    .comfyui = {.configuring = kCogvideoxConfiguring},
};

}  // namespace ctq::families
