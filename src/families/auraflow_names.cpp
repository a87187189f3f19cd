// Names of the diffusers library for AuraFlow.
#include "namings.h"

namespace ctq::families {
namespace {

using enum Values;

constexpr ForeignName kRows[] = {
    {"pos_embed.pos_embed", "positional_encoding"},
    {"pos_embed.proj", "init_x_linear"},
    {"register_tokens", "register_tokens"},
    {"context_embedder", "cond_seq_linear"},
    {"time_step_proj.linear_1", "t_embedder.mlp.0"},
    {"time_step_proj.linear_2", "t_embedder.mlp.2"},
    {"joint_transformer_blocks.#.attn.to_q", "double_layers.#.attn.w2q"},
    {"joint_transformer_blocks.#.attn.to_k", "double_layers.#.attn.w2k"},
    {"joint_transformer_blocks.#.attn.to_v", "double_layers.#.attn.w2v"},
    {"joint_transformer_blocks.#.attn.to_out.0", "double_layers.#.attn.w2o"},
    {"joint_transformer_blocks.#.attn.add_q_proj", "double_layers.#.attn.w1q"},
    {"joint_transformer_blocks.#.attn.add_k_proj", "double_layers.#.attn.w1k"},
    {"joint_transformer_blocks.#.attn.add_v_proj", "double_layers.#.attn.w1v"},
    {"joint_transformer_blocks.#.attn.to_add_out", "double_layers.#.attn.w1o"},
    {"joint_transformer_blocks.#.ff.linear_1", "double_layers.#.mlpX.c_fc1"},
    {"joint_transformer_blocks.#.ff.linear_2", "double_layers.#.mlpX.c_fc2"},
    {"joint_transformer_blocks.#.ff.out_projection", "double_layers.#.mlpX.c_proj"},
    {"joint_transformer_blocks.#.ff_context.linear_1", "double_layers.#.mlpC.c_fc1"},
    {"joint_transformer_blocks.#.ff_context.linear_2", "double_layers.#.mlpC.c_fc2"},
    {"joint_transformer_blocks.#.ff_context.out_projection", "double_layers.#.mlpC.c_proj"},
    {"joint_transformer_blocks.#.norm1.linear", "double_layers.#.modX.1"},
    {"joint_transformer_blocks.#.norm1_context.linear", "double_layers.#.modC.1"},
    {"single_transformer_blocks.#.attn.to_q", "single_layers.#.attn.w1q"},
    {"single_transformer_blocks.#.attn.to_k", "single_layers.#.attn.w1k"},
    {"single_transformer_blocks.#.attn.to_v", "single_layers.#.attn.w1v"},
    {"single_transformer_blocks.#.attn.to_out.0", "single_layers.#.attn.w1o"},
    {"single_transformer_blocks.#.norm1.linear", "single_layers.#.modCX.1"},
    {"single_transformer_blocks.#.ff.linear_1", "single_layers.#.mlp.c_fc1"},
    {"single_transformer_blocks.#.ff.linear_2", "single_layers.#.mlp.c_fc2"},
    {"single_transformer_blocks.#.ff.out_projection", "single_layers.#.mlp.c_proj"},
    {"norm_out.linear", "modF.1", 0, 1, kHalvesSwapped},
    {"proj_out", "final_linear"},
};

}  // namespace

constinit const Naming kAuraFlowNames = {
    .title = "AuraFlow",
    .all = {"joint_transformer_blocks.0.attn.add_k_proj", "time_step_proj", "pos_embed", "context_embedder"},
    .rows = kRows};

}  // namespace ctq::families
