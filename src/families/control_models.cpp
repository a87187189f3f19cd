// What steers a diffusion model from a file of its own: ControlNets that are not plain copies of their model,
// adapters, patches, style models, GLIGEN.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kControlModelSignatures[] = {
    {{"controlnet_blocks.0"}},
    {{"controlnet_cond_embedding"}},  // diffusers
    {{"input_hint_block.0", "zero_convs.0"}},
    {{"controlnet_x_embedder"}},
    {{"single_controlnet_blocks.0"}},
    {{"control_blocks.0.after_proj", "control_img_in"}},  // Qwen-Image, Fun
    {{"after_proj_list.18"}},                             // Hunyuan DiT
    {{"lora_controlnet"}},                                // control LoRA
    {{"body.0.in_conv"}},                                 // T2I adapters
    {{"conv_in", "body.0.block2"}},
    {{"backbone.0.0", "backbone.10.blocks.0"}},  // Stable Cascade
    {{"lllite_conditioning1"}},
    {{"control_all_x_embedder"}},                                 // Z-Image, Fun
    {{"controlnet_patch_embedding"}},                             // Uni3C
    {{"feature_embedder.mid_layer_norm"}},                        // USO
    {{"audio_proj.proj1", "audio_proj.proj2"}},                   // MultiTalk
    {{"project_modules.0", "control_model.input_hint_block.0"}},  // SUPIR
};

constexpr Signature kStyleModelSignatures[] = {
    {{"style_embedding"}}, {{"redux_down", "redux_up"}},  // Flux.1 Redux
};

constexpr Signature kGligenSignatures[] = {
    {{"position_net.null_positive_feature"}},
};

constexpr Signature kIpAdapterSignatures[] = {
    {{"ip_adapter"}},
    {{"id_encoder"}},  // PhotoMaker
    {{"pulid_encoder"}},
};

}  // namespace

constinit const Family kControlModel = {
    .name = "control_model",
    .title = "a ControlNet or patch",
    .kind = Kind::kControl,
    .signatures = kControlModelSignatures,
};

constinit const Family kStyleModel = {
    .name = "style_model",
    .title = "a style model",
    .kind = Kind::kControl,
    .signatures = kStyleModelSignatures,
};

constinit const Family kGligen = {
    .name = "gligen",
    .title = "GLIGEN",
    .kind = Kind::kControl,
    .signatures = kGligenSignatures,
};

constinit const Family kIpAdapter = {
    .name = "ip_adapter",
    .title = "an IP-Adapter",
    .kind = Kind::kControl,
    .signatures = kIpAdapterSignatures,
};

}  // namespace ctq::families
