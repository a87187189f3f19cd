// CLIP's text models. ComfyUI builds them of plain layers, whatever the file says of scales.
#include "rows.h"

namespace ctq::families {
namespace {

// As Hugging Face has them, with and without "text_model.", and as OpenCLIP has them.
constexpr Signature kClipSignatures[] = {
    {{"text_model.encoder.layers.0.mlp.fc1"}},
    {{"encoder.layers.0.mlp.fc1", "embeddings.token_embedding"}},
    {{"transformer.resblocks.0.mlp.c_fc"}, {"visual.transformer.resblocks.0.attn"}},
};

}  // namespace

constinit const Family kClip = {
    .name = "clip",
    .title = "CLIP text models (L, H, G)",
    .kind = Kind::kTextEncoder,
    .signatures = kClipSignatures,
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
