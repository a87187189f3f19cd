// Names of the diffusers library for LTX-Video. What a row does not name is called the same in both.
#include "namings.h"

namespace ctq::families {
namespace {

constexpr ForeignName kRows[] = {
    {"proj_in", "patchify_proj"},
    {"time_embed.*", "adaln_single.*"},
    {"transformer_blocks.#.attn1.norm_q", "transformer_blocks.#.attn1.q_norm"},
    {"transformer_blocks.#.attn1.norm_k", "transformer_blocks.#.attn1.k_norm"},
    {"transformer_blocks.#.attn2.norm_q", "transformer_blocks.#.attn2.q_norm"},
    {"transformer_blocks.#.attn2.norm_k", "transformer_blocks.#.attn2.k_norm"},
};

}  // namespace

constinit const Naming kLtxvNames = {.title = "LTX-Video",
                                     .all = {"proj_in", "time_embed.emb.timestep_embedder",
                                             "transformer_blocks.0.attn1.norm_q", "caption_projection"},
                                     .none = {"audio_proj_in"},
                                     .rows = kRows};

}  // namespace ctq::families
