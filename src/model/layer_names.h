// What checkpoints and adapters put around a layer's name.
#pragma once

#include <string_view>

namespace ctq::model {

/// The prefix under which ComfyUI looks for a diffusion model inside a checkpoint ("model.diffusion_model."),
/// where the name has one, else empty.
std::string_view model_prefix(std::string_view tensor_name);

/// The same, or the prefix of the text encoder inside a checkpoint ("text_encoders.t5xxl.transformer."). What
/// ComfyUI's legacy token for the tensor stands behind: "<prefix>scaled_fp8".
std::string_view checkpoint_prefix(std::string_view tensor_name);

/// The name without all prefixes that a model's files and programs put in front: model_prefix(),
/// "diffusion_model.", "base_model.model.", "transformer.", "unet.", "model."; of the text encoders inside
/// checkpoints of Stable Diffusion "cond_stage_model.transformer.", "conditioner.embedders.1.model.",
/// "text_encoders.clip_g.transformer." ...
std::string_view without_model_prefixes(std::string_view name);

/// Whether a tensor is of the averages that training keeps beside the weights ("model_ema.", in old
/// checkpoints), which no loader reads.
bool is_ema_name(std::string_view tensor_name);

/// The one prefix by which an adapter says which model of a pipeline a layer is of: "lora_unet_",
/// "lora_te1_", "lycoris_", "text_encoder_2." ...; empty where there is none.
std::string_view adapter_prefix(std::string_view name);

/// What stands before the suffix; empty where the name does not end in it.
std::string_view without_suffix(std::string_view name, std::string_view suffix);

}  // namespace ctq::model
