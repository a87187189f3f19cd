// Names that the lists of several families begin with.
#pragma once

#include <iterator>
#include <span>
#include <string_view>

namespace ctq::families {

inline constexpr std::string_view kBaseAvoidPeer[] = {
    "norm",
    "bias",
    "embed_tokens",
    "lm_head",
    "shared",
    "patch_embedding",
    "audio_model.patch_embedding",
    "ref_conv",
    "control_adapter",
    "motion_encoder.enc.net_app",
    "face_encoder.conv",
    "pose_patch_embedding",
    "motion_encoder.enc.fc",
    "img_emb.proj",
    "k_norm",
    "q_norm",
    "motion_encoder.dec",
    "head.modulation",
    "casual_audio_encoder",
    "cond_encoder",
    "frame_packer",
    "norm_k",
    "norm_q",
    "tekken_model",
    "multi_modal_projector",
    "patch_conv",
    "ln_pre",
    "input_layernorm",
    "attention_norm",
    "post_attention_layernorm",
    "mm_input_projection_weight",
};

/// The same but for the last.
inline constexpr auto kBaseAvoid = std::span(kBaseAvoidPeer).first<std::size(kBaseAvoidPeer) - 1>();

}  // namespace ctq::families
