// HunyuanVideo 1.0 and HunyuanImage 2.1.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kHunyuanVideoHighprec[] = {"time_in", "vector_in", "guidance_in", "txt_in",
                                                      "final_layer"};

constexpr std::string_view kHunyuanImageHighprec[] = {"time_in", "time_r_in", "guidance_in",
                                                      "txt_in",  "byt5_in",   "final_layer"};

constexpr Signature kHunyuanVideoSignatures[] = {
    {{"txt_in.individual_token_refiner", "vector_in", "double_blocks.0", "single_blocks.0"},
     {"cond_type_embedding"}},
};

constexpr std::string_view kHunyuanVideoConfiguring[] = {"txt_in.input_embedder"};

constexpr std::string_view kHunyuanVideoConfiguringRows[] = {"final_layer.linear"};

constexpr Signature kHunyuanImageSignatures[] = {
    {{"txt_in.individual_token_refiner", "double_blocks.0", "final_layer.linear"},
     {"cond_type_embedding", "vector_in", "vision_in"}},
};

constexpr std::string_view kHunyuanImageConfiguring[] = {"txt_in.input_embedder"};

constexpr std::string_view kHunyuanImageConfiguringRows[] = {"final_layer.linear"};

// The published names of its blocks, which are else those of Flux.1; and the text refiner, whose norms are
// not modulated, only what the branches add.
constexpr Input kHunyuanVideoInputs[] = {
    modulated_mlp("double_blocks.#.img_mlp.fc2", {"double_blocks.#.img_mlp.fc1"}, Activation::kGeluTanh),
    modulated_mlp("double_blocks.#.txt_mlp.fc2", {"double_blocks.#.txt_mlp.fc1"}, Activation::kGeluTanh),
    {.layers = {"individual_token_refiner.blocks.#.self_attn.qkv",
                "individual_token_refiner.blocks.#.self_attn_qkv"},
     .norm = {Norm::kLayer, "individual_token_refiner.blocks.#.norm1"}},
    {.layers = {"individual_token_refiner.blocks.#.self_attn.proj"},
     .norm = {Norm::kLayer, "individual_token_refiner.blocks.#.norm1"},
     .values = {"individual_token_refiner.blocks.#.self_attn.qkv", 2, 3}},
    {.layers = {"individual_token_refiner.blocks.#.self_attn_proj"},
     .norm = {Norm::kLayer, "individual_token_refiner.blocks.#.norm1"},
     .values = {"individual_token_refiner.blocks.#.self_attn_qkv", 2, 3}},
    {.layers = {"individual_token_refiner.blocks.#.mlp.0", "individual_token_refiner.blocks.#.mlp.fc1"},
     .norm = {Norm::kLayer, "individual_token_refiner.blocks.#.norm2"}},
    {.layers = {"individual_token_refiner.blocks.#.mlp.2"},
     .norm = {Norm::kLayer, "individual_token_refiner.blocks.#.norm2"},
     .gate = {"individual_token_refiner.blocks.#.mlp.0"},
     .activation = Activation::kSilu},
    {.layers = {"individual_token_refiner.blocks.#.mlp.fc2"},
     .norm = {Norm::kLayer, "individual_token_refiner.blocks.#.norm2"},
     .gate = {"individual_token_refiner.blocks.#.mlp.fc1"},
     .activation = Activation::kSilu},
};

constexpr ModulatedInput kHunyuanVideoModulated[] = {
    modulated({"double_blocks.#.img_attn_qkv"}, "double_blocks.#.img_mod.linear", 0, 6),
    modulated({"double_blocks.#.img_mlp.fc1"}, "double_blocks.#.img_mod.linear", 1, 6),
    modulated({"double_blocks.#.txt_attn_qkv"}, "double_blocks.#.txt_mod.linear", 0, 6),
    modulated({"double_blocks.#.txt_mlp.fc1"}, "double_blocks.#.txt_mod.linear", 1, 6),
    modulated({"single_blocks.#.linear1"}, "single_blocks.#.modulation.linear", 0, 3),
};

}  // namespace

constinit const Structure kHunyuanVideoStructure = {.inputs = kHunyuanVideoInputs,
                                                    .modulated = kHunyuanVideoModulated};

constinit const Preset kHunyuanVideoPreset = {
    .name = "hunyuan_video",
    .help = "HunyuanVideo 1.0. Time, pooled, guidance and text inputs and the final layer stay unquantized.",
    .category = "video",
    .ours = PatternLists{.highprec = kHunyuanVideoHighprec}};

constinit const Preset kHunyuanImagePreset = {.name = "hunyuan_image",
                                              .help =
                                                  "HunyuanImage 2.1 and its refiner. Time, guidance, text "
                                                  "and glyph inputs and the final layer stay unquantized.",
                                              .category = "image",
                                              .ours = PatternLists{.highprec = kHunyuanImageHighprec}};

constinit const Family kHunyuanVideo = {
    .name = "hunyuan_video",
    .title = "HunyuanVideo 1.0, I2V, SkyReels",
    .kind = Kind::kDiffusion,
    .signatures = kHunyuanVideoSignatures,
    .preset = &kHunyuanVideoPreset,
    .structures = {&kFluxStructure, &kHunyuanVideoStructure},
    .comfyui = {.configuring = kHunyuanVideoConfiguring,
                .configuring_rows = kHunyuanVideoConfiguringRows,
                .encoders = inside::kLlama},
};

constinit const Family kHunyuanImage = {
    .name = "hunyuan_image",
    .title = "HunyuanImage 2.1, refiner",
    .kind = Kind::kDiffusion,
    .signatures = kHunyuanImageSignatures,
    .preset = &kHunyuanImagePreset,
    .structures = {&kFluxStructure, &kHunyuanVideoStructure},
    .comfyui = {.configuring = kHunyuanImageConfiguring,
                .configuring_rows = kHunyuanImageConfiguringRows,
                .encoders = inside::kHunyuanImage},
};

}  // namespace ctq::families
