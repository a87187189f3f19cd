// Names of the diffusers library for Flux.1 (dev, schnell, Fill, Kontext, Depth, Canny), Chroma and Flux.2.
#include "namings.h"
#include "rows_of.h"

namespace ctq::families {
namespace {

using enum Values;

constexpr ForeignName kCommon[] = {
    {"x_embedder", "img_in"},
    {"context_embedder", "txt_in"},
    {"proj_out", "final_layer.linear"},
    {"transformer_blocks.#.attn.to_q", "double_blocks.#.img_attn.qkv", 0, 3},
    {"transformer_blocks.#.attn.to_k", "double_blocks.#.img_attn.qkv", 1, 3},
    {"transformer_blocks.#.attn.to_v", "double_blocks.#.img_attn.qkv", 2, 3},
    {"transformer_blocks.#.attn.add_q_proj", "double_blocks.#.txt_attn.qkv", 0, 3},
    {"transformer_blocks.#.attn.add_k_proj", "double_blocks.#.txt_attn.qkv", 1, 3},
    {"transformer_blocks.#.attn.add_v_proj", "double_blocks.#.txt_attn.qkv", 2, 3},
    {"transformer_blocks.#.attn.to_out.0", "double_blocks.#.img_attn.proj"},
    {"transformer_blocks.#.attn.to_add_out", "double_blocks.#.txt_attn.proj"},
    {"transformer_blocks.#.attn.norm_q.weight", "double_blocks.#.img_attn.norm.query_norm.scale"},
    {"transformer_blocks.#.attn.norm_k.weight", "double_blocks.#.img_attn.norm.key_norm.scale"},
    {"transformer_blocks.#.attn.norm_added_q.weight", "double_blocks.#.txt_attn.norm.query_norm.scale"},
    {"transformer_blocks.#.attn.norm_added_k.weight", "double_blocks.#.txt_attn.norm.key_norm.scale"},
    {"single_transformer_blocks.#.attn.norm_q.weight", "single_blocks.#.norm.query_norm.scale"},
    {"single_transformer_blocks.#.attn.norm_k.weight", "single_blocks.#.norm.key_norm.scale"},
    {"transformer_blocks.#.ff.linear_in", "double_blocks.#.img_mlp.0"},
    {"transformer_blocks.#.ff.linear_out", "double_blocks.#.img_mlp.2"},
    {"transformer_blocks.#.ff_context.linear_in", "double_blocks.#.txt_mlp.0"},
    {"transformer_blocks.#.ff_context.linear_out", "double_blocks.#.txt_mlp.2"},
};

constexpr ForeignName kOfFlux1[] = {
    {"transformer_blocks.#.ff.net.0.proj", "double_blocks.#.img_mlp.0"},
    {"transformer_blocks.#.ff.net.2", "double_blocks.#.img_mlp.2"},
    {"transformer_blocks.#.ff_context.net.0.proj", "double_blocks.#.txt_mlp.0"},
    {"transformer_blocks.#.ff_context.net.2", "double_blocks.#.txt_mlp.2"},
    {"transformer_blocks.#.norm1.linear", "double_blocks.#.img_mod.lin"},
    {"transformer_blocks.#.norm1_context.linear", "double_blocks.#.txt_mod.lin"},
    {"single_transformer_blocks.#.attn.to_q", "single_blocks.#.linear1", 0, 4},
    {"single_transformer_blocks.#.attn.to_k", "single_blocks.#.linear1", 1, 4},
    {"single_transformer_blocks.#.attn.to_v", "single_blocks.#.linear1", 2, 4},
    {"single_transformer_blocks.#.proj_mlp", "single_blocks.#.linear1", 3, 4},
    {"single_transformer_blocks.#.proj_out", "single_blocks.#.linear2"},
    {"single_transformer_blocks.#.norm.linear", "single_blocks.#.modulation.lin"},
    {"time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"},
    {"time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"},
    {"time_text_embed.text_embedder.linear_1", "vector_in.in_layer"},
    {"time_text_embed.text_embedder.linear_2", "vector_in.out_layer"},
    {"time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"},
    {"time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"},
    {"norm_out.linear", "final_layer.adaLN_modulation.1", 0, 1, kHalvesSwapped},
};

constexpr ForeignName kOfChroma[] = {
    {"transformer_blocks.#.ff.net.0.proj", "double_blocks.#.img_mlp.0"},
    {"transformer_blocks.#.ff.net.2", "double_blocks.#.img_mlp.2"},
    {"transformer_blocks.#.ff_context.net.0.proj", "double_blocks.#.txt_mlp.0"},
    {"transformer_blocks.#.ff_context.net.2", "double_blocks.#.txt_mlp.2"},
    {"single_transformer_blocks.#.attn.to_q", "single_blocks.#.linear1", 0, 4},
    {"single_transformer_blocks.#.attn.to_k", "single_blocks.#.linear1", 1, 4},
    {"single_transformer_blocks.#.attn.to_v", "single_blocks.#.linear1", 2, 4},
    {"single_transformer_blocks.#.proj_mlp", "single_blocks.#.linear1", 3, 4},
    {"single_transformer_blocks.#.proj_out", "single_blocks.#.linear2"},
    {"distilled_guidance_layer.layers.#.linear_1", "distilled_guidance_layer.layers.#.in_layer"},
    {"distilled_guidance_layer.layers.#.linear_2", "distilled_guidance_layer.layers.#.out_layer"},
    {"distilled_guidance_layer.norms.#.weight", "distilled_guidance_layer.norms.#.scale"},
};

constexpr ForeignName kOfFlux2[] = {
    {"single_transformer_blocks.#.attn.to_qkv_mlp_proj", "single_blocks.#.linear1"},
    {"single_transformer_blocks.#.attn.to_out", "single_blocks.#.linear2"},
    {"time_guidance_embed.timestep_embedder.linear_1", "time_in.in_layer"},
    {"time_guidance_embed.timestep_embedder.linear_2", "time_in.out_layer"},
    {"time_guidance_embed.guidance_embedder.linear_1", "guidance_in.in_layer"},
    {"time_guidance_embed.guidance_embedder.linear_2", "guidance_in.out_layer"},
    {"double_stream_modulation_img.linear", "double_stream_modulation_img.lin"},
    {"double_stream_modulation_txt.linear", "double_stream_modulation_txt.lin"},
    {"single_stream_modulation.linear", "single_stream_modulation.lin"},
    {"norm_out.linear", "final_layer.adaLN_modulation.1", 0, 1, kHalvesSwapped},
};

constexpr auto kFlux1Rows = joined(kCommon, kOfFlux1);
constexpr auto kChromaRows = joined(kCommon, kOfChroma);
constexpr auto kFlux2Rows = joined(kCommon, kOfFlux2);

}  // namespace

constinit const Naming kFlux2Names = {
    .title = "Flux.2",
    .all = {"x_embedder", "context_embedder", "single_transformer_blocks.0.attn.to_qkv_mlp_proj"},
    .rows = kFlux2Rows};

constinit const Naming kChromaNames = {
    .title = "Chroma",
    .all = {"x_embedder", "context_embedder", "single_transformer_blocks.0", "distilled_guidance_layer"},
    .rows = kChromaRows};

// Other models have blocks of these names too, but embed the time apart.
constinit const Naming kFluxNames = {
    .title = "Flux.1",
    .all = {"x_embedder", "context_embedder", "transformer_blocks.0.attn.add_q_proj",
            "single_transformer_blocks.0"},
    .none = {"time_embed", "caption_projection", "controlnet_blocks", "controlnet_x_embedder"},
    .rows = kFlux1Rows};

}  // namespace ctq::families
