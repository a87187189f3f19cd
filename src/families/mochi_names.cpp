// Names of the diffusers library for Mochi. Gate and value of its feed-forward layers change places.
#include "namings.h"

namespace ctq::families {
namespace {

using enum Values;

constexpr ForeignName kRows[] = {
    {"patch_embed.proj", "x_embedder.proj"},
    {"time_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"},
    {"time_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"},
    {"time_embed.pooler.to_kv", "t5_y_embedder.to_kv"},
    {"time_embed.pooler.to_q", "t5_y_embedder.to_q"},
    {"time_embed.pooler.to_out", "t5_y_embedder.to_out"},
    {"time_embed.caption_proj", "t5_yproj"},
    {"transformer_blocks.#.norm1.linear", "blocks.#.mod_x"},
    {"transformer_blocks.#.norm1_context.linear", "blocks.#.mod_y"},
    {"transformer_blocks.#.norm1_context.linear_1", "blocks.#.mod_y"},
    {"transformer_blocks.#.attn1.to_q", "blocks.#.attn.qkv_x", 0, 3},
    {"transformer_blocks.#.attn1.to_k", "blocks.#.attn.qkv_x", 1, 3},
    {"transformer_blocks.#.attn1.to_v", "blocks.#.attn.qkv_x", 2, 3},
    {"transformer_blocks.#.attn1.add_q_proj", "blocks.#.attn.qkv_y", 0, 3},
    {"transformer_blocks.#.attn1.add_k_proj", "blocks.#.attn.qkv_y", 1, 3},
    {"transformer_blocks.#.attn1.add_v_proj", "blocks.#.attn.qkv_y", 2, 3},
    {"transformer_blocks.#.attn1.norm_q", "blocks.#.attn.q_norm_x"},
    {"transformer_blocks.#.attn1.norm_k", "blocks.#.attn.k_norm_x"},
    {"transformer_blocks.#.attn1.norm_added_q", "blocks.#.attn.q_norm_y"},
    {"transformer_blocks.#.attn1.norm_added_k", "blocks.#.attn.k_norm_y"},
    {"transformer_blocks.#.attn1.to_out.0", "blocks.#.attn.proj_x"},
    {"transformer_blocks.#.attn1.to_add_out", "blocks.#.attn.proj_y"},
    {"transformer_blocks.#.ff.net.0.proj", "blocks.#.mlp_x.w1", 0, 1, kHalvesSwapped},
    {"transformer_blocks.#.ff.net.2", "blocks.#.mlp_x.w2"},
    {"transformer_blocks.#.ff_context.net.0.proj", "blocks.#.mlp_y.w1", 0, 1, kHalvesSwapped},
    {"transformer_blocks.#.ff_context.net.2", "blocks.#.mlp_y.w2"},
    {"norm_out.linear", "final_layer.mod", 0, 1, kHalvesSwapped},
    {"proj_out", "final_layer.linear"},
};

}  // namespace

constinit const Naming kMochiNames = {
    .title = "Mochi",
    .all = {"patch_embed.proj", "time_embed.pooler", "transformer_blocks.0.attn1.add_q_proj"},
    .rows = kRows};

}  // namespace ctq::families
