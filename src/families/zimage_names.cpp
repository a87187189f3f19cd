// Names of the diffusers library for Z-Image and for Lumina 2. What a row does not name is called the same in
// both.
#include "namings.h"

namespace ctq::families {
namespace {

constexpr ForeignName kZimage[] = {
    {"all_x_embedder.2-1", "x_embedder"},
    {"all_final_layer.2-1.linear", "final_layer.linear"},
    {"all_final_layer.2-1.adaLN_modulation.1", "final_layer.adaLN_modulation.1"},
    {"layers.#.attention.to_q", "layers.#.attention.qkv", 0, 3},
    {"layers.#.attention.to_k", "layers.#.attention.qkv", 1, 3},
    {"layers.#.attention.to_v", "layers.#.attention.qkv", 2, 3},
    {"layers.#.attention.to_out.0", "layers.#.attention.out"},
    {"layers.#.attention.norm_q", "layers.#.attention.q_norm"},
    {"layers.#.attention.norm_k", "layers.#.attention.k_norm"},
    {"context_refiner.#.attention.to_q", "context_refiner.#.attention.qkv", 0, 3},
    {"context_refiner.#.attention.to_k", "context_refiner.#.attention.qkv", 1, 3},
    {"context_refiner.#.attention.to_v", "context_refiner.#.attention.qkv", 2, 3},
    {"context_refiner.#.attention.to_out.0", "context_refiner.#.attention.out"},
    {"context_refiner.#.attention.norm_q", "context_refiner.#.attention.q_norm"},
    {"context_refiner.#.attention.norm_k", "context_refiner.#.attention.k_norm"},
    {"noise_refiner.#.attention.to_q", "noise_refiner.#.attention.qkv", 0, 3},
    {"noise_refiner.#.attention.to_k", "noise_refiner.#.attention.qkv", 1, 3},
    {"noise_refiner.#.attention.to_v", "noise_refiner.#.attention.qkv", 2, 3},
    {"noise_refiner.#.attention.to_out.0", "noise_refiner.#.attention.out"},
    {"noise_refiner.#.attention.norm_q", "noise_refiner.#.attention.q_norm"},
    {"noise_refiner.#.attention.norm_k", "noise_refiner.#.attention.k_norm"},
};

constexpr ForeignName kLumina2[] = {
    {"time_caption_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"},
    {"time_caption_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"},
    {"time_caption_embed.caption_embedder.#", "cap_embedder.#"},
    {"norm_out.linear_1", "final_layer.adaLN_modulation.1"},
    {"norm_out.linear_2", "final_layer.linear"},
    {"layers.#.attn.to_q", "layers.#.attention.qkv", 0, 3},
    {"layers.#.attn.to_k", "layers.#.attention.qkv", 1, 3},
    {"layers.#.attn.to_v", "layers.#.attention.qkv", 2, 3},
    {"layers.#.attn.to_out.0", "layers.#.attention.out"},
    {"layers.#.attn.norm_q", "layers.#.attention.q_norm"},
    {"layers.#.attn.norm_k", "layers.#.attention.k_norm"},
    {"layers.#.feed_forward.linear_1", "layers.#.feed_forward.w1"},
    {"layers.#.feed_forward.linear_2", "layers.#.feed_forward.w2"},
    {"layers.#.feed_forward.linear_3", "layers.#.feed_forward.w3"},
    {"layers.#.norm1.linear", "layers.#.adaLN_modulation.1"},
    {"layers.#.norm1.norm", "layers.#.attention_norm1"},
    {"layers.#.norm2", "layers.#.attention_norm2"},
    {"noise_refiner.#.attn.to_q", "noise_refiner.#.attention.qkv", 0, 3},
    {"noise_refiner.#.attn.to_k", "noise_refiner.#.attention.qkv", 1, 3},
    {"noise_refiner.#.attn.to_v", "noise_refiner.#.attention.qkv", 2, 3},
    {"noise_refiner.#.attn.to_out.0", "noise_refiner.#.attention.out"},
    {"noise_refiner.#.attn.norm_q", "noise_refiner.#.attention.q_norm"},
    {"noise_refiner.#.attn.norm_k", "noise_refiner.#.attention.k_norm"},
    {"noise_refiner.#.feed_forward.linear_1", "noise_refiner.#.feed_forward.w1"},
    {"noise_refiner.#.feed_forward.linear_2", "noise_refiner.#.feed_forward.w2"},
    {"noise_refiner.#.feed_forward.linear_3", "noise_refiner.#.feed_forward.w3"},
    {"noise_refiner.#.norm1.linear", "noise_refiner.#.adaLN_modulation.1"},
    {"noise_refiner.#.norm1.norm", "noise_refiner.#.attention_norm1"},
    {"noise_refiner.#.norm2", "noise_refiner.#.attention_norm2"},
    {"context_refiner.#.attn.to_q", "context_refiner.#.attention.qkv", 0, 3},
    {"context_refiner.#.attn.to_k", "context_refiner.#.attention.qkv", 1, 3},
    {"context_refiner.#.attn.to_v", "context_refiner.#.attention.qkv", 2, 3},
    {"context_refiner.#.attn.to_out.0", "context_refiner.#.attention.out"},
    {"context_refiner.#.attn.norm_q", "context_refiner.#.attention.q_norm"},
    {"context_refiner.#.attn.norm_k", "context_refiner.#.attention.k_norm"},
    {"context_refiner.#.feed_forward.linear_1", "context_refiner.#.feed_forward.w1"},
    {"context_refiner.#.feed_forward.linear_2", "context_refiner.#.feed_forward.w2"},
    {"context_refiner.#.feed_forward.linear_3", "context_refiner.#.feed_forward.w3"},
    {"context_refiner.#.norm1", "context_refiner.#.attention_norm1"},
    {"context_refiner.#.norm2", "context_refiner.#.attention_norm2"},
};

}  // namespace

constinit const Naming kZimageNames = {.title = "Z-Image",
                                       .all = {"layers.0.attention.to_q", "noise_refiner.0.attention.to_q"},
                                       .rows = kZimage};

constinit const Naming kLumina2Names = {
    .title = "Lumina 2",
    .all = {"layers.0.attn.to_q", "noise_refiner.0.attn.to_q", "time_caption_embed"},
    .none = {"ref_image_patch_embedder", "ref_image_refiner", "double_stream_layers"},  // OmniGen2, Boogu
    .rows = kLumina2};

}  // namespace ctq::families
