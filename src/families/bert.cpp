// BERT, of Hunyuan DiT, and Jina CLIP, of NewBie.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kBertSignatures[] = {
    {{"bert.encoder.layer.0.attention.self.query"}},
};

constexpr Signature kJinaClipSignatures[] = {
    {{"model.encoder.layers.0.mixer.Wqkv"}},
};

}  // namespace

constinit const Family kBert = {
    .name = "bert",
    .title = "BERT",
    .kind = Kind::kTextEncoder,
    .signatures = kBertSignatures,
    .comfyui = {.reads_quantized = false},
};

constinit const Family kJinaClip = {
    .name = "jina_clip",
    .title = "Jina CLIP",
    .kind = Kind::kTextEncoder,
    .signatures = kJinaClipSignatures,
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
