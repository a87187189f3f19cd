// Names of the diffusers library for Stable Diffusion 3 and 3.5.
#include "namings.h"

namespace ctq::families {
namespace {

using enum Values;

constexpr ForeignName kRows[] = {
    {"pos_embed.pos_embed", "pos_embed"},
    {"pos_embed.proj", "x_embedder.proj"},
    {"context_embedder", "context_embedder"},
    {"time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"},
    {"time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"},
    {"time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"},
    {"time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"},
    {"transformer_blocks.#.attn.to_q", "joint_blocks.#.x_block.attn.qkv", 0, 3},
    {"transformer_blocks.#.attn.to_k", "joint_blocks.#.x_block.attn.qkv", 1, 3},
    {"transformer_blocks.#.attn.to_v", "joint_blocks.#.x_block.attn.qkv", 2, 3},
    {"transformer_blocks.#.attn.add_q_proj", "joint_blocks.#.context_block.attn.qkv", 0, 3},
    {"transformer_blocks.#.attn.add_k_proj", "joint_blocks.#.context_block.attn.qkv", 1, 3},
    {"transformer_blocks.#.attn.add_v_proj", "joint_blocks.#.context_block.attn.qkv", 2, 3},
    {"transformer_blocks.#.attn2.to_q", "joint_blocks.#.x_block.attn2.qkv", 0, 3},
    {"transformer_blocks.#.attn2.to_k", "joint_blocks.#.x_block.attn2.qkv", 1, 3},
    {"transformer_blocks.#.attn2.to_v", "joint_blocks.#.x_block.attn2.qkv", 2, 3},
    {"transformer_blocks.#.attn.to_out.0", "joint_blocks.#.x_block.attn.proj"},
    {"transformer_blocks.#.attn2.to_out.0", "joint_blocks.#.x_block.attn2.proj"},
    {"transformer_blocks.#.attn.to_add_out", "joint_blocks.#.context_block.attn.proj"},
    {"transformer_blocks.#.attn.norm_q", "joint_blocks.#.x_block.attn.ln_q"},
    {"transformer_blocks.#.attn.norm_k", "joint_blocks.#.x_block.attn.ln_k"},
    {"transformer_blocks.#.attn2.norm_q", "joint_blocks.#.x_block.attn2.ln_q"},
    {"transformer_blocks.#.attn2.norm_k", "joint_blocks.#.x_block.attn2.ln_k"},
    {"transformer_blocks.#.attn.norm_added_q", "joint_blocks.#.context_block.attn.ln_q"},
    {"transformer_blocks.#.attn.norm_added_k", "joint_blocks.#.context_block.attn.ln_k"},
    {"transformer_blocks.#.ff.net.0.proj", "joint_blocks.#.x_block.mlp.fc1"},
    {"transformer_blocks.#.ff.net.2", "joint_blocks.#.x_block.mlp.fc2"},
    {"transformer_blocks.#.ff_context.net.0.proj", "joint_blocks.#.context_block.mlp.fc1"},
    {"transformer_blocks.#.ff_context.net.2", "joint_blocks.#.context_block.mlp.fc2"},
    {"transformer_blocks.#.norm1.linear", "joint_blocks.#.x_block.adaLN_modulation.1"},
    // Of the last block, whose text ends there, it is a scale and a shift.
    {"transformer_blocks.#.norm1_context.linear", "joint_blocks.#.context_block.adaLN_modulation.1", 0, 1,
     kHalvesOfTwoSwapped},
    {"norm_out.linear", "final_layer.adaLN_modulation.1", 0, 1, kHalvesSwapped},
    {"proj_out", "final_layer.linear"},
};

}  // namespace

constinit const Naming kSd3Names = {
    .title = "Stable Diffusion 3",
    .all = {"pos_embed.proj", "context_embedder", "transformer_blocks.0.attn.add_q_proj", "time_text_embed"},
    .none = {"controlnet_blocks", "pos_embed_input"},
    .rows = kRows};

}  // namespace ctq::families
