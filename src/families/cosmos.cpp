// Cosmos 1 and Cosmos-Predict2.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kCosmosHighprec[] = {"x_embedder", "t_embedder", "final_layer"};

constexpr Signature kCosmosSignatures[] = {
    {{"blocks.block0.blocks.0.block.attn.to_q.0", "x_embedder.proj.1", "final_layer.linear"}},
};

constexpr std::string_view kCosmosConfiguring[] = {"x_embedder.proj.1"};

constexpr std::string_view kCosmosConfiguringRows[] = {"blocks.block0.blocks.0.block.attn.to_q.0"};

constexpr Signature kCosmosPredict2Signatures[] = {
    {{"blocks.0.mlp.layer1", "x_embedder.proj.1", "t_embedder.1.linear_1", "final_layer.linear"},
     {"llm_adapter"}},
};

constexpr std::string_view kCosmosPredict2Configuring[] = {"x_embedder.proj.1"};

constexpr Input kCosmosPredict2Inputs[] = {
    modulated_mlp("blocks.#.mlp.layer2", {"blocks.#.mlp.layer1"}, Activation::kGelu),
};

}  // namespace

constinit const Structure kCosmosPredict2Structure = {.present = {"blocks.#.adaln_modulation_mlp.1.weight"},
                                                      .inputs = kCosmosPredict2Inputs};

constinit const Preset kCosmosPreset = {
    .name = "cosmos",
    .help = "Cosmos 1, Cosmos-Predict2. Patch and time embedders and the final layer stay unquantized.",
    .category = "video",
    .ours = PatternLists{.highprec = kCosmosHighprec}};

constinit const Family kCosmos = {
    .name = "cosmos",
    .title = "Cosmos 1",
    .kind = Kind::kDiffusion,
    .signatures = kCosmosSignatures,
    .preset = &kCosmosPreset,
    .comfyui = {.configuring = kCosmosConfiguring,
                .configuring_rows = kCosmosConfiguringRows,
                .encoders = inside::kT5xxl},
};

constinit const Family kCosmosPredict2 = {
    .name = "cosmos_predict2",
    .title = "Cosmos-Predict2",
    .kind = Kind::kDiffusion,
    .signatures = kCosmosPredict2Signatures,
    .preset = &kCosmosPreset,
    .structures = {&kCosmosPredict2Structure},
    .comfyui = {.configuring = kCosmosPredict2Configuring, .encoders = inside::kT5xxlOld},
};

}  // namespace ctq::families
