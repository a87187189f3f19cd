// Boogu.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kBooguHighprec[] = {
    "image_index_embedding", "ref_image_patch_embedder", "time_caption_embed", "x_embedder",
    "norm_out.linear_1",     "norm_out.linear_2",
};

constexpr Signature kBooguSignatures[] = {
    {{"double_stream_layers.0.img_instruct_attn.processor.img_to_q", "single_stream_layers.0", "x_embedder",
      "time_caption_embed"}},
};

constexpr std::string_view kBooguConfiguringRows[] = {"x_embedder"};

}  // namespace

constinit const Preset kBooguPreset = {
    .name = "boogu",
    .help =
        "Boogu image transformer. Image index embedding, reference patch embedder, time/caption "
        "embedding, x embedder and output-norm linears stay unquantized.",
    .category = "image",
    .peer = PatternLists{.highprec = kBooguHighprec}};

constinit const Family kBoogu = {
    .name = "boogu",
    .title = "Boogu",
    .kind = Kind::kDiffusion,
    .signatures = kBooguSignatures,
    .preset = &kBooguPreset,
    .comfyui = {.configuring_rows = kBooguConfiguringRows, .encoders = inside::kQwen3Vl8b},
};

}  // namespace ctq::families
