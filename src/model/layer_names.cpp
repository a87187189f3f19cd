#include "model/layer_names.h"

#include <algorithm>

namespace ctq::model {
namespace {

struct Prefix {
  std::string_view text;
  bool of_checkpoint;  ///< ComfyUI's loader looks for it
};

constexpr Prefix kModelPrefixes[] = {
    {"model.diffusion_model.", true},
    {"model.model.", true},
    {"net.", true},
    {"diffusion_model.", false},
    {"base_model.model.", false},
    {"transformer.", false},
    {"unet.", false},
    {"model.", false},
    {"cond_stage_model.transformer.", false},
    {"cond_stage_model.model.", false},
    {"conditioner.embedders.0.transformer.", false},
    {"conditioner.embedders.0.model.", false},
    {"conditioner.embedders.1.model.", false},
    {"text_encoders.clip_l.transformer.", false},
    {"text_encoders.clip_g.transformer.", false},
    {"text_encoders.t5xxl.transformer.", false},
};

/// Prefixes of all text encoders inside a checkpoint.
constexpr std::string_view kEncoderPrefixes[] = {"text_encoders.", "cond_stage_model.", "conditioner."};

constexpr std::string_view kAdapterPrefixes[] = {
    "lora_unet__",   "lora_unet_",      "lora_transformer_", "lora_te_",         "lora_te1_",
    "lora_te2_",     "lora_te3_",       "lycoris_",          "lora_prior_unet_", "lora_prior_te_",
    "text_encoder.", "text_encoder_2.", "text_encoder_3.",
};

constexpr std::string_view kEmaPrefixes[] = {"model_ema.", "ema_model.", "diffusion_ema.", "state_dict_ema."};

}  // namespace

std::string_view model_prefix(std::string_view tensor_name) {
  for (const Prefix& prefix : kModelPrefixes) {
    if (prefix.of_checkpoint && tensor_name.starts_with(prefix.text)) return prefix.text;
  }
  return "";
}

std::string_view checkpoint_prefix(std::string_view tensor_name) {
  for (const std::string_view all : kEncoderPrefixes) {
    if (!tensor_name.starts_with(all)) continue;
    constexpr std::string_view kOne = ".transformer.";
    const size_t one = tensor_name.find(kOne);
    return one == std::string_view::npos ? all : tensor_name.substr(0, one + kOne.size());
  }
  return model_prefix(tensor_name);
}

std::string_view without_model_prefixes(std::string_view name) {
  const auto* prefix = std::begin(kModelPrefixes);
  while (prefix != std::end(kModelPrefixes)) {
    prefix = std::ranges::find_if(kModelPrefixes,
                                  [&](const Prefix& candidate) { return name.starts_with(candidate.text); });
    if (prefix != std::end(kModelPrefixes)) name.remove_prefix(prefix->text.size());
  }
  return name;
}

bool is_ema_name(std::string_view tensor_name) {
  return std::ranges::any_of(kEmaPrefixes,
                             [&](std::string_view prefix) { return tensor_name.starts_with(prefix); });
}

std::string_view adapter_prefix(std::string_view name) {
  const auto* prefix = std::ranges::find_if(
      kAdapterPrefixes, [&](std::string_view candidate) { return name.starts_with(candidate); });
  return prefix == std::end(kAdapterPrefixes) ? std::string_view() : *prefix;
}

std::string_view without_suffix(std::string_view name, std::string_view suffix) {
  return name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : std::string_view();
}

}  // namespace ctq::model
