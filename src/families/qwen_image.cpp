// Qwen-Image, and Mage-Flow, which has its names and twelve blocks.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr std::string_view kQwenExclude[] = {"norm_added_k", "norm_added_q", "norm_k", "norm_q", "txt_norm"};

constexpr std::string_view kQwenHighprec[] = {
    "time_text_embed", "img_in", "norm_out", "proj_out", "transformer_blocks.0.img_mod.1", "txt_in",
};

constexpr Signature kQwenImageSignatures[] = {
    {{"transformer_blocks.59", "transformer_blocks.0.img_mod.1", "txt_norm", "time_text_embed", "img_in"},
     {"controlnet_blocks"}},
    {{"transformer_blocks.12", "transformer_blocks.0.img_mod.1", "txt_norm", "time_text_embed", "img_in"},
     {"controlnet_blocks"}},
};

constexpr Signature kMageFlowSignatures[] = {
    {{"transformer_blocks.11", "transformer_blocks.0.img_mod.1", "txt_norm", "time_text_embed", "img_in"},
     {"transformer_blocks.12", "controlnet_blocks"}},
};

constexpr std::string_view kQwenImageTables[] = {"time_text_embed.addition_t_embedding"};

constexpr std::string_view kQwenImageConfiguring[] = {"img_in"};

// With other rows it would be Qwen-Image.
constexpr std::string_view kMageFlowConfiguringRows[] = {"proj_out"};

constexpr Input kQwenImageInputs[] = {
    modulated_mlp("transformer_blocks.#.img_mlp.net.2", {"transformer_blocks.#.img_mlp.net.0.proj"},
                  Activation::kGeluTanh),
    modulated_mlp("transformer_blocks.#.txt_mlp.net.2", {"transformer_blocks.#.txt_mlp.net.0.proj"},
                  Activation::kGeluTanh),
};

constexpr ModulatedInput kQwenImageModulated[] = {
    modulated({"transformer_blocks.#.attn.to_q", "transformer_blocks.#.attn.to_k",
               "transformer_blocks.#.attn.to_v"},
              "transformer_blocks.#.img_mod.1", 0, 6),
    modulated({"transformer_blocks.#.img_mlp.net.0.proj"}, "transformer_blocks.#.img_mod.1", 1, 6),
    modulated({"transformer_blocks.#.attn.add_q_proj", "transformer_blocks.#.attn.add_k_proj",
               "transformer_blocks.#.attn.add_v_proj"},
              "transformer_blocks.#.txt_mod.1", 0, 6),
    modulated({"transformer_blocks.#.txt_mlp.net.0.proj"}, "transformer_blocks.#.txt_mod.1", 1, 6),
};

}  // namespace

constinit const Structure kQwenImageStructure = {.inputs = kQwenImageInputs,
                                                 .modulated = kQwenImageModulated};

constinit const Preset kQwenPreset = {
    .name = "qwen",
    .help =
        "Qwen-Image transformer. Added norms, time/text embedding, first-block image modulation, input "
        "and output projections stay unquantized.",
    .category = "image",
    .from_seed = true,
    .seed = PatternLists{.exclude = kQwenExclude, .highprec = kQwenHighprec},
    .peer = PatternLists{.exclude = kQwenExclude, .highprec = kQwenHighprec}};

constinit const Family kQwenImage = {
    .name = "qwen_image",
    .title = "Qwen-Image, Edit, Layered",
    .kind = Kind::kDiffusion,
    .signatures = kQwenImageSignatures,
    .preset = &kQwenPreset,
    .structures = {&kQwenImageStructure},
    .comfyui = {.tables = kQwenImageTables,
                .configuring = kQwenImageConfiguring,
                .encoders = inside::kQwen25_7b},
};

constinit const Family kMageFlow = {
    .name = "mage_flow",
    .title = "Mage-Flow",
    .kind = Kind::kDiffusion,
    .signatures = kMageFlowSignatures,
    .preset = &kQwenPreset,
    .structures = {&kQwenImageStructure},
    .comfyui = {.configuring_rows = kMageFlowConfiguringRows, .encoders = inside::kQwen3Vl4b},
};

}  // namespace ctq::families
