// Qwen's language models with a vision tower.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr PreservedDtype kQwenVlmPreserveDtype[] = {{"bfloat16", ".*"}};

constexpr std::string_view kQwenVlmExclude[] = {
    ".layers.0.", "lm_head", "embed_tokens", "in_proj_a", "in_proj_b", "visual.", "mtp.",
};

constexpr std::string_view kTables[] = {"visual.pos_embed", "model.visual.pos_embed"};
constexpr std::string_view kConfiguringRows[] = {"model.visual.merger.linear_fc2"};

constexpr Signature kQwen35Signatures[] = {
    {{"model.language_model.layers.0.linear_attn.A_log",
      "model.language_model.layers.0.linear_attn.in_proj_a"}},
};
constexpr Signature kQwen3VlSignatures[] = {
    {{"visual.deepstack_merger_list.0.norm", "visual.merger.linear_fc2", "model.layers.0.self_attn.q_norm"},
     {"audio_tower", "talker"}},
    {{"model.visual.deepstack_merger_list.0.norm", "model.visual.merger.linear_fc2",
      "model.language_model.layers.0.self_attn.q_norm"},
     {"audio_tower", "talker"}},
};
constexpr Signature kQwen25VlSignatures[] = {
    {{"visual.merger.ln_q", "visual.merger.mlp.0", "visual.blocks.0.attn.qkv",
      "model.layers.0.self_attn.k_proj"},
     {"audio_tower", "audio_encoder"}},
    {{"model.visual.merger.ln_q", "model.visual.merger.mlp.0", "model.visual.blocks.0.attn.qkv",
      "model.language_model.layers.0.self_attn.k_proj"},
     {"audio_tower"}},
};

// Attention outputs are gated, so o_proj and linear_attn.out_proj are left out.
constexpr Input kQwen35Inputs[] = {
    {.layers = {"layers.#.self_attn.q_proj", "layers.#.self_attn.k_proj", "layers.#.self_attn.v_proj",
                "layers.#.linear_attn.in_proj_qkv", "layers.#.linear_attn.in_proj_z",
                "layers.#.linear_attn.in_proj_a", "layers.#.linear_attn.in_proj_b"},
     .norm = {Norm::kRmsOnePlus, "layers.#.input_layernorm"}},
    {.layers = {"layers.#.mlp.gate_proj", "layers.#.mlp.up_proj"},
     .norm = {Norm::kRmsOnePlus, "layers.#.post_attention_layernorm"}},
    {.layers = {"layers.#.mlp.down_proj"},
     .norm = {Norm::kRmsOnePlus, "layers.#.post_attention_layernorm"},
     .gate = {"layers.#.mlp.gate_proj"},
     .up = {"layers.#.mlp.up_proj"},
     .activation = Activation::kSilu},
};

constexpr Input kQwen25VisionInputs[] = {
    {.layers = {"visual.blocks.#.attn.qkv"}, .norm = {Norm::kRms, "visual.blocks.#.norm1"}},
    {.layers = {"visual.blocks.#.attn.proj"},
     .norm = {Norm::kRms, "visual.blocks.#.norm1"},
     .values = {"visual.blocks.#.attn.qkv", 2, 3}},
    {.layers = {"visual.blocks.#.mlp.gate_proj", "visual.blocks.#.mlp.up_proj"},
     .norm = {Norm::kRms, "visual.blocks.#.norm2"}},
    {.layers = {"visual.blocks.#.mlp.down_proj"},
     .norm = {Norm::kRms, "visual.blocks.#.norm2"},
     .gate = {"visual.blocks.#.mlp.gate_proj"},
     .up = {"visual.blocks.#.mlp.up_proj"},
     .activation = Activation::kSilu},
};

}  // namespace

constinit const Structure kQwen35Structure = {.present = {"layers.0.linear_attn.A_log"},
                                              .inputs = kQwen35Inputs};

constinit const Structure kQwen25VisionStructure = {.inputs = kQwen25VisionInputs};

constinit const Preset kQwenVlmPreset = {
    .name = "qwen_vlm",
    .help =
        "Qwen vision-language encoders. First and last language layer, embeddings, LM head, MTP head, "
        "gated-delta in_proj a/b and the whole vision tower stay unquantized.",
    .category = "text",
    .text_encoder = true,
    .exclude_final_language_layer = true,
    .preserve_dtype = kQwenVlmPreserveDtype,
    .peer = PatternLists{.exclude = kQwenVlmExclude}};

constinit const Preset kQwen35Preset = {.name = "qwen35",
                                        .help = "Old name of the Qwen vision-language preset.",
                                        .category = "text",
                                        .text_encoder = true,
                                        .alias_for = "qwen_vlm",
                                        .peer = PatternLists{}};

constinit const Family kQwen35 = {
    .name = "qwen35",
    .title = "Qwen 3.5",
    .kind = Kind::kTextEncoder,
    .signatures = kQwen35Signatures,
    .preset = &kQwenVlmPreset,
    .structures = {&kQwen35Structure},
    .comfyui = {.tables = kTables},
};

constinit const Family kQwen3Vl = {
    .name = "qwen3_vl",
    .title = "Qwen3-VL",
    .kind = Kind::kTextEncoder,
    .signatures = kQwen3VlSignatures,
    .preset = &kQwenVlmPreset,
    .structures = {&kLlamaStructure},
    .comfyui = {.tables = kTables, .configuring_rows = kConfiguringRows},
};

constinit const Family kQwen25Vl = {
    .name = "qwen25_vl",
    .title = "Qwen2.5-VL",
    .kind = Kind::kTextEncoder,
    .signatures = kQwen25VlSignatures,
    .preset = &kQwenVlmPreset,
    .structures = {&kLlamaStructure, &kQwen25VisionStructure},
};

}  // namespace ctq::families
