// Names of the diffusers library for PixArt alpha and sigma.
#include "namings.h"

namespace ctq::families {
namespace {

constexpr ForeignName kRows[] = {
    {"pos_embed.proj", "x_embedder.proj"},
    {"adaln_single.emb.timestep_embedder.linear_1", "t_embedder.mlp.0"},
    {"adaln_single.emb.timestep_embedder.linear_2", "t_embedder.mlp.2"},
    {"adaln_single.emb.resolution_embedder.linear_1", "csize_embedder.mlp.0"},
    {"adaln_single.emb.resolution_embedder.linear_2", "csize_embedder.mlp.2"},
    {"adaln_single.emb.aspect_ratio_embedder.linear_1", "ar_embedder.mlp.0"},
    {"adaln_single.emb.aspect_ratio_embedder.linear_2", "ar_embedder.mlp.2"},
    {"adaln_single.linear", "t_block.1"},
    {"caption_projection.y_embedding", "y_embedder.y_embedding"},
    {"caption_projection.linear_1", "y_embedder.y_proj.fc1"},
    {"caption_projection.linear_2", "y_embedder.y_proj.fc2"},
    {"transformer_blocks.#.scale_shift_table", "blocks.#.scale_shift_table"},
    {"transformer_blocks.#.attn1.to_q", "blocks.#.attn.qkv", 0, 3},
    {"transformer_blocks.#.attn1.to_k", "blocks.#.attn.qkv", 1, 3},
    {"transformer_blocks.#.attn1.to_v", "blocks.#.attn.qkv", 2, 3},
    {"transformer_blocks.#.attn1.to_out.0", "blocks.#.attn.proj"},
    {"transformer_blocks.#.attn2.to_q", "blocks.#.cross_attn.q_linear"},
    {"transformer_blocks.#.attn2.to_k", "blocks.#.cross_attn.kv_linear", 0, 2},
    {"transformer_blocks.#.attn2.to_v", "blocks.#.cross_attn.kv_linear", 1, 2},
    {"transformer_blocks.#.attn2.to_out.0", "blocks.#.cross_attn.proj"},
    {"transformer_blocks.#.ff.net.0.proj", "blocks.#.mlp.fc1"},
    {"transformer_blocks.#.ff.net.2", "blocks.#.mlp.fc2"},
    {"scale_shift_table", "final_layer.scale_shift_table"},
    {"proj_out", "final_layer.linear"},
};

}  // namespace

constinit const Naming kPixArtNames = {.title = "PixArt",
                                       .all = {"adaln_single.emb.timestep_embedder", "pos_embed.proj",
                                               "caption_projection", "transformer_blocks.0.attn1"},
                                       .rows = kRows};

}  // namespace ctq::families
