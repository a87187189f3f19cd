// Names for HunyuanVideo: those of the diffusers library, and those under which the model was published,
// which adapters of diffusion-pipe keep. ComfyUI renames the latter while it loads and loses nothing, so they
// stay in whole models.
#include "namings.h"

namespace ctq::families {
namespace {

using enum Values;

constexpr ForeignName kDiffusers[] = {
    {"x_embedder.proj", "img_in.proj"},
    {"time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"},
    {"time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"},
    {"time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"},
    {"time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"},
    {"time_text_embed.text_embedder.linear_1", "vector_in.in_layer"},
    {"time_text_embed.text_embedder.linear_2", "vector_in.out_layer"},
    {"context_embedder.proj_in", "txt_in.input_embedder"},
    {"context_embedder.time_text_embed.timestep_embedder.linear_1", "txt_in.t_embedder.in_layer"},
    {"context_embedder.time_text_embed.timestep_embedder.linear_2", "txt_in.t_embedder.out_layer"},
    {"context_embedder.time_text_embed.text_embedder.linear_1", "txt_in.c_embedder.in_layer"},
    {"context_embedder.time_text_embed.text_embedder.linear_2", "txt_in.c_embedder.out_layer"},
    {"context_embedder.token_refiner.refiner_blocks.#.attn.to_q",
     "txt_in.individual_token_refiner.blocks.#.self_attn.qkv", 0, 3},
    {"context_embedder.token_refiner.refiner_blocks.#.attn.to_k",
     "txt_in.individual_token_refiner.blocks.#.self_attn.qkv", 1, 3},
    {"context_embedder.token_refiner.refiner_blocks.#.attn.to_v",
     "txt_in.individual_token_refiner.blocks.#.self_attn.qkv", 2, 3},
    {"context_embedder.token_refiner.refiner_blocks.#.attn.to_out.0",
     "txt_in.individual_token_refiner.blocks.#.self_attn.proj"},
    {"context_embedder.token_refiner.refiner_blocks.#.norm1",
     "txt_in.individual_token_refiner.blocks.#.norm1"},
    {"context_embedder.token_refiner.refiner_blocks.#.norm2",
     "txt_in.individual_token_refiner.blocks.#.norm2"},
    {"context_embedder.token_refiner.refiner_blocks.#.norm_out.linear",
     "txt_in.individual_token_refiner.blocks.#.adaLN_modulation.1"},
    {"context_embedder.token_refiner.refiner_blocks.#.ff.net.0.proj",
     "txt_in.individual_token_refiner.blocks.#.mlp.0"},
    {"context_embedder.token_refiner.refiner_blocks.#.ff.net.2",
     "txt_in.individual_token_refiner.blocks.#.mlp.2"},
    {"transformer_blocks.#.attn.to_q", "double_blocks.#.img_attn.qkv", 0, 3},
    {"transformer_blocks.#.attn.to_k", "double_blocks.#.img_attn.qkv", 1, 3},
    {"transformer_blocks.#.attn.to_v", "double_blocks.#.img_attn.qkv", 2, 3},
    {"transformer_blocks.#.attn.add_q_proj", "double_blocks.#.txt_attn.qkv", 0, 3},
    {"transformer_blocks.#.attn.add_k_proj", "double_blocks.#.txt_attn.qkv", 1, 3},
    {"transformer_blocks.#.attn.add_v_proj", "double_blocks.#.txt_attn.qkv", 2, 3},
    {"transformer_blocks.#.attn.to_out.0", "double_blocks.#.img_attn.proj"},
    {"transformer_blocks.#.attn.to_add_out", "double_blocks.#.txt_attn.proj"},
    {"transformer_blocks.#.attn.norm_q", "double_blocks.#.img_attn.norm.query_norm"},
    {"transformer_blocks.#.attn.norm_k", "double_blocks.#.img_attn.norm.key_norm"},
    {"transformer_blocks.#.attn.norm_added_q", "double_blocks.#.txt_attn.norm.query_norm"},
    {"transformer_blocks.#.attn.norm_added_k", "double_blocks.#.txt_attn.norm.key_norm"},
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
    {"single_transformer_blocks.#.attn.norm_q", "single_blocks.#.norm.query_norm"},
    {"single_transformer_blocks.#.attn.norm_k", "single_blocks.#.norm.key_norm"},
    {"norm_out.linear", "final_layer.adaLN_modulation.1", 0, 1, kHalvesSwapped},
    {"proj_out", "final_layer.linear"},
};

constexpr ForeignName kPublished[] = {
    {"double_blocks.#.img_attn_qkv", "double_blocks.#.img_attn.qkv"},
    {"double_blocks.#.txt_attn_qkv", "double_blocks.#.txt_attn.qkv"},
    {"double_blocks.#.img_attn_proj", "double_blocks.#.img_attn.proj"},
    {"double_blocks.#.txt_attn_proj", "double_blocks.#.txt_attn.proj"},
    {"double_blocks.#.img_attn_q_norm", "double_blocks.#.img_attn.norm.query_norm"},
    {"double_blocks.#.img_attn_k_norm", "double_blocks.#.img_attn.norm.key_norm"},
    {"double_blocks.#.txt_attn_q_norm", "double_blocks.#.txt_attn.norm.query_norm"},
    {"double_blocks.#.txt_attn_k_norm", "double_blocks.#.txt_attn.norm.key_norm"},
    {"double_blocks.#.img_mlp.fc1", "double_blocks.#.img_mlp.0"},
    {"double_blocks.#.img_mlp.fc2", "double_blocks.#.img_mlp.2"},
    {"double_blocks.#.txt_mlp.fc1", "double_blocks.#.txt_mlp.0"},
    {"double_blocks.#.txt_mlp.fc2", "double_blocks.#.txt_mlp.2"},
    {"double_blocks.#.img_mod.linear", "double_blocks.#.img_mod.lin"},
    {"double_blocks.#.txt_mod.linear", "double_blocks.#.txt_mod.lin"},
    {"single_blocks.#.modulation.linear", "single_blocks.#.modulation.lin"},
    {"single_blocks.#.q_norm", "single_blocks.#.norm.query_norm"},
    {"single_blocks.#.k_norm", "single_blocks.#.norm.key_norm"},
    {"time_in.mlp.0", "time_in.in_layer"},
    {"time_in.mlp.2", "time_in.out_layer"},
    {"guidance_in.mlp.0", "guidance_in.in_layer"},
    {"guidance_in.mlp.2", "guidance_in.out_layer"},
    {"txt_in.t_embedder.mlp.0", "txt_in.t_embedder.in_layer"},
    {"txt_in.t_embedder.mlp.2", "txt_in.t_embedder.out_layer"},
    {"txt_in.c_embedder.linear_1", "txt_in.c_embedder.in_layer"},
    {"txt_in.c_embedder.linear_2", "txt_in.c_embedder.out_layer"},
    {"txt_in.individual_token_refiner.blocks.#.self_attn_qkv",
     "txt_in.individual_token_refiner.blocks.#.self_attn.qkv"},
    {"txt_in.individual_token_refiner.blocks.#.self_attn_proj",
     "txt_in.individual_token_refiner.blocks.#.self_attn.proj"},
    {"txt_in.individual_token_refiner.blocks.#.mlp.fc1", "txt_in.individual_token_refiner.blocks.#.mlp.0"},
    {"txt_in.individual_token_refiner.blocks.#.mlp.fc2", "txt_in.individual_token_refiner.blocks.#.mlp.2"},
};

}  // namespace

constinit const Naming kHunyuanVideoNames = {.title = "HunyuanVideo",
                                             .all = {"x_embedder.proj", "context_embedder.token_refiner",
                                                     "transformer_blocks.0", "single_transformer_blocks.0"},
                                             .rows = kDiffusers};

constinit const Naming kHunyuanVideoPublishedNames = {
    .title = "HunyuanVideo", .source = "the published model", .rows = kPublished, .whole_models = false};

}  // namespace ctq::families
