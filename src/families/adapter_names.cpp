// Names that only adapters have, of ComfyUI's modules and of the two kinds of CLIP.
#include "namings.h"

namespace ctq::families {
namespace {

/// XLabs, USO: they replace the attention's processors. And the first rows of a joined layer, as ComfyUI
/// calls them.
constexpr ForeignName kFluxProcessors[] = {
    {"double_blocks.#.processor.qkv_lora1", "double_blocks.#.img_attn.qkv"},
    {"double_blocks.#.processor.qkv_lora2", "double_blocks.#.txt_attn.qkv"},
    {"double_blocks.#.processor.proj_lora1", "double_blocks.#.img_attn.proj"},
    {"double_blocks.#.processor.proj_lora2", "double_blocks.#.txt_attn.proj"},
    {"single_blocks.#.processor.qkv_lora", "single_blocks.#.linear1", 0, 2},
    {"single_blocks.#.processor.proj_lora", "single_blocks.#.linear2"},
    {"single_blocks.#.linear1_qkv", "single_blocks.#.linear1", 0, 2},
};

/// ACE-Step 1.5: adapters were trained on the decoder alone.
constexpr ForeignName kAceStep[] = {{"*", "decoder.*"}};

/// Adapters have the names of the transformers library, checkpoints of Stable Diffusion 2 and XL those of
/// OpenCLIP.
constexpr ForeignName kOpenClip[] = {
    {"text_model.encoder.layers.#.self_attn.q_proj", "resblocks.#.attn.in_proj_weight", 0, 3},
    {"text_model.encoder.layers.#.self_attn.k_proj", "resblocks.#.attn.in_proj_weight", 1, 3},
    {"text_model.encoder.layers.#.self_attn.v_proj", "resblocks.#.attn.in_proj_weight", 2, 3},
    {"text_model.encoder.layers.#.self_attn.out_proj", "resblocks.#.attn.out_proj"},
    {"text_model.encoder.layers.#.mlp.fc1", "resblocks.#.mlp.c_fc"},
    {"text_model.encoder.layers.#.mlp.fc2", "resblocks.#.mlp.c_proj"},
    {"text_model.encoder.layers.#.layer_norm1", "resblocks.#.ln_1"},
    {"text_model.encoder.layers.#.layer_norm2", "resblocks.#.ln_2"},
    {"text_model.final_layer_norm", "ln_final"},
};

}  // namespace

constinit const Naming kFluxProcessorNames = {
    .title = "Flux.1", .source = "XLabs", .rows = kFluxProcessors, .whole_models = false};

constinit const Naming kAceStepNames = {
    .title = "ACE-Step 1.5", .source = "its adapters", .rows = kAceStep, .whole_models = false};

constinit const Naming kOpenClipNames = {
    .title = "OpenCLIP", .source = "transformers", .rows = kOpenClip, .whole_models = false};

}  // namespace ctq::families
