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

// OpenAI's own models have quick_gelu; they are told from OpenCLIP's by their widths.
constexpr Input kOpenClipInputs[] = {
    {.layers = {"transformer.resblocks.#.attn.in_proj"},
     .norm = {Norm::kLayer, "transformer.resblocks.#.ln_1"}},
    {.layers = {"transformer.resblocks.#.attn.out_proj"},
     .norm = {Norm::kLayer, "transformer.resblocks.#.ln_1"},
     .values = {"transformer.resblocks.#.attn.in_proj", 2, 3}},
    {.layers = {"transformer.resblocks.#.mlp.c_fc"}, .norm = {Norm::kLayer, "transformer.resblocks.#.ln_2"}},
    {.layers = {"visual.transformer.resblocks.#.mlp.c_proj"},
     .norm = {Norm::kLayer, "visual.transformer.resblocks.#.ln_2"},
     .gate = {"visual.transformer.resblocks.#.mlp.c_fc"},
     .activation = Activation::kQuickGelu,
     .width = 1024},
    {.layers = {"transformer.resblocks.#.mlp.c_proj"},
     .norm = {Norm::kLayer, "transformer.resblocks.#.ln_2"},
     .gate = {"transformer.resblocks.#.mlp.c_fc"},
     .activation = Activation::kQuickGelu,
     .width = 768},
    {.layers = {"transformer.resblocks.#.mlp.c_proj"},
     .norm = {Norm::kLayer, "transformer.resblocks.#.ln_2"},
     .gate = {"transformer.resblocks.#.mlp.c_fc"},
     .activation = Activation::kGelu},
};

// text_model and vision_model of CLIP, vision_model of SigLIP.
constexpr Input kClipInputs[] = {
    {.layers = {"encoder.layers.#.self_attn.q_proj", "encoder.layers.#.self_attn.k_proj",
                "encoder.layers.#.self_attn.v_proj"},
     .norm = {Norm::kLayer, "encoder.layers.#.layer_norm1"}},
    {.layers = {"encoder.layers.#.self_attn.out_proj"},
     .norm = {Norm::kLayer, "encoder.layers.#.layer_norm1"},
     .values = {"encoder.layers.#.self_attn.v_proj"}},
    {.layers = {"encoder.layers.#.mlp.fc1"}, .norm = {Norm::kLayer, "encoder.layers.#.layer_norm2"}},
    {.layers = {"text_model.encoder.layers.#.mlp.fc2"},
     .norm = {Norm::kLayer, "text_model.encoder.layers.#.layer_norm2"},
     .gate = {"text_model.encoder.layers.#.mlp.fc1"},
     .activation = Activation::kQuickGelu,
     .width = 768},
    {.layers = {"vision_model.encoder.layers.#.mlp.fc2"},
     .norm = {Norm::kLayer, "vision_model.encoder.layers.#.layer_norm2"},
     .gate = {"vision_model.encoder.layers.#.mlp.fc1"},
     .activation = Activation::kQuickGelu,
     .width = 1024},
    {.layers = {"vision_model.encoder.layers.#.mlp.fc2"},
     .norm = {Norm::kLayer, "vision_model.encoder.layers.#.layer_norm2"},
     .gate = {"vision_model.encoder.layers.#.mlp.fc1"},
     .activation = Activation::kGeluTanh,
     .width = 1152},
    {.layers = {"encoder.layers.#.mlp.fc2"},
     .norm = {Norm::kLayer, "encoder.layers.#.layer_norm2"},
     .gate = {"encoder.layers.#.mlp.fc1"},
     .activation = Activation::kGelu},
};

}  // namespace

constinit const Structure kOpenClipStructure = {.inputs = kOpenClipInputs};

constinit const Structure kClipStructure = {.inputs = kClipInputs};

constinit const Family kClip = {
    .name = "clip",
    .title = "CLIP text models (L, H, G)",
    .kind = Kind::kTextEncoder,
    .signatures = kClipSignatures,
    .structures = {&kClipStructure, &kOpenClipStructure},
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
