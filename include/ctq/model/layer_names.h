// What checkpoints and adapters put around a layer's name.
#pragma once

#include <string_view>

namespace ctq::model {

/// The prefix under which ComfyUI looks for a diffusion model inside a checkpoint ("model.diffusion_model."),
/// where the name has one, else empty. It stands before `scaled_fp8` too.
std::string_view model_prefix(std::string_view tensor_name);

/// The name without all prefixes that a model's files and programs put in front: model_prefix(),
/// "diffusion_model.", "base_model.model.", "transformer.", "unet.", "model."; of the CLIP-L inside checkpoints of
/// Stable Diffusion "cond_stage_model.transformer." and "conditioner.embedders.0.transformer.".
std::string_view without_model_prefixes(std::string_view name);

/// The one prefix by which an adapter says which model of a pipeline a layer is of: "lora_unet_",
/// "lora_te1_", "lycoris_", "text_encoder_2." ...; empty where there is none.
std::string_view adapter_prefix(std::string_view name);

/// What stands before the suffix; empty where the name does not end in it.
std::string_view without_suffix(std::string_view name, std::string_view suffix);

}  // namespace ctq::model
