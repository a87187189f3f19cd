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

// A norm after each sum, so a block's input is normed by the block before, and the sums read the norms too.
constexpr Input kBertInputs[] = {
    {.layers = {"encoder.layer.#.attention.self.query", "encoder.layer.#.attention.self.key",
                "encoder.layer.#.attention.self.value"},
     .norm = {.kind = Norm::kLayer,
              .name = "encoder.layer.<.output.LayerNorm",
              .before = "embeddings.LayerNorm",
              .is_shared = true}},
    {.layers = {"encoder.layer.#.attention.output.dense"},
     .norm = {Norm::kLayer, "encoder.layer.<.output.LayerNorm", "embeddings.LayerNorm"},
     .values = {"encoder.layer.#.attention.self.value"}},
    {.layers = {"encoder.layer.#.intermediate.dense"},
     .norm = {.kind = Norm::kLayer, .name = "encoder.layer.#.attention.output.LayerNorm", .is_shared = true}},
    {.layers = {"encoder.layer.#.output.dense"},
     .norm = {Norm::kLayer, "encoder.layer.#.attention.output.LayerNorm"},
     .gate = {"encoder.layer.#.intermediate.dense"},
     .activation = Activation::kGelu},
};

}  // namespace

constinit const Structure kBertStructure = {.present = {"encoder.layer.#.attention.output.LayerNorm.weight"},
                                            .inputs = kBertInputs};

constinit const Family kBert = {
    .name = "bert",
    .title = "BERT",
    .kind = Kind::kTextEncoder,
    .signatures = kBertSignatures,
    .structures = {&kBertStructure},
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
