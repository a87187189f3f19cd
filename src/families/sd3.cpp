// Stable Diffusion 3 and 3.5.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kSd3Highprec[] = {"t_embedder", "y_embedder", "context_embedder", "final_layer"};

constexpr Signature kSd3Signatures[] = {
    {{"joint_blocks.0.context_block.attn.qkv", "context_embedder", "y_embedder.mlp.0", "final_layer.linear"}},
};

constexpr std::string_view kSd3Configuring[] = {"y_embedder.mlp.0", "context_embedder"};

constexpr std::string_view kSd3ConfiguringRows[] = {"final_layer.linear"};

constexpr Input kSd3Inputs[] = {
    modulated_mlp("joint_blocks.#.x_block.mlp.fc2", {"joint_blocks.#.x_block.mlp.fc1"},
                  Activation::kGeluTanh),
    modulated_mlp("joint_blocks.#.context_block.mlp.fc2", {"joint_blocks.#.context_block.mlp.fc1"},
                  Activation::kGeluTanh),
};

// Six parts; nine where a second attention reads the image; two in the last block, whose text is not used on.
constexpr std::string_view kImage = "joint_blocks.#.x_block.adaLN_modulation.1";
constexpr std::string_view kText = "joint_blocks.#.context_block.adaLN_modulation.1";
constexpr ModulatedInput kSd3Modulated[] = {
    modulated({"joint_blocks.#.x_block.attn.qkv"}, kImage, 0, 6),
    modulated({"joint_blocks.#.x_block.mlp.fc1"}, kImage, 1, 6),
    modulated({"joint_blocks.#.x_block.attn.qkv"}, kImage, 0, 9),
    modulated({"joint_blocks.#.x_block.mlp.fc1"}, kImage, 1, 9),
    modulated({"joint_blocks.#.x_block.attn2.qkv"}, kImage, 2, 9),
    modulated({"joint_blocks.#.context_block.attn.qkv"}, kText, 0, 6),
    modulated({"joint_blocks.#.context_block.attn.qkv"}, kText, 0, 2),
    modulated({"joint_blocks.#.context_block.mlp.fc1"}, kText, 1, 6),
};

}  // namespace

constinit const Structure kSd3Structure = {.inputs = kSd3Inputs, .modulated = kSd3Modulated};

constinit const Preset kSd3Preset = {
    .name = "sd3",
    .help = "Stable Diffusion 3, 3.5. Time, pooled and text embedders and the final layer stay unquantized.",
    .category = "image",
    .ours = PatternLists{.highprec = kSd3Highprec}};

constinit const Family kSd3 = {
    .name = "sd3",
    .title = "Stable Diffusion 3, 3.5",
    .kind = Kind::kDiffusion,
    .signatures = kSd3Signatures,
    .preset = &kSd3Preset,
    .structures = {&kSd3Structure},
    .comfyui = {.configuring = kSd3Configuring,
                .configuring_rows = kSd3ConfiguringRows,
                .encoders = inside::kT5xxl},
};

}  // namespace ctq::families
