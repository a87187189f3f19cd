// Names of the diffusers library for Krea 2.
#include "namings.h"

namespace ctq::families {
namespace {

using enum Values;

constexpr ForeignName kRows[] = {
    {"img_in", "first"},
    {"time_embed.linear_1", "tmlp.0"},
    {"time_embed.linear_2", "tmlp.2"},
    {"time_mod_proj", "tproj.1"},
    {"txt_in.norm.weight", "txtmlp.0.scale"},
    {"txt_in.linear_1", "txtmlp.1"},
    {"txt_in.linear_2", "txtmlp.3"},
    {"text_fusion.projector", "txtfusion.projector"},
    {"final_layer.linear", "last.linear"},
    {"final_layer.norm.weight", "last.norm.scale"},
    {"final_layer.scale_shift_table", "last.modulation.lin"},
    {"transformer_blocks.#.attn.to_q", "blocks.#.attn.wq"},
    {"transformer_blocks.#.attn.to_k", "blocks.#.attn.wk"},
    {"transformer_blocks.#.attn.to_v", "blocks.#.attn.wv"},
    {"transformer_blocks.#.attn.to_gate", "blocks.#.attn.gate"},
    {"transformer_blocks.#.attn.to_out.0", "blocks.#.attn.wo"},
    {"transformer_blocks.#.attn.norm_q.weight", "blocks.#.attn.qknorm.qnorm.scale"},
    {"transformer_blocks.#.attn.norm_k.weight", "blocks.#.attn.qknorm.knorm.scale"},
    {"transformer_blocks.#.ff.gate", "blocks.#.mlp.gate"},
    {"transformer_blocks.#.ff.up", "blocks.#.mlp.up"},
    {"transformer_blocks.#.ff.down", "blocks.#.mlp.down"},
    {"transformer_blocks.#.norm1.weight", "blocks.#.prenorm.scale"},
    {"transformer_blocks.#.norm2.weight", "blocks.#.postnorm.scale"},
    {"text_fusion.layerwise_blocks.#.attn.to_q", "txtfusion.layerwise_blocks.#.attn.wq"},
    {"text_fusion.layerwise_blocks.#.attn.to_k", "txtfusion.layerwise_blocks.#.attn.wk"},
    {"text_fusion.layerwise_blocks.#.attn.to_v", "txtfusion.layerwise_blocks.#.attn.wv"},
    {"text_fusion.layerwise_blocks.#.attn.to_gate", "txtfusion.layerwise_blocks.#.attn.gate"},
    {"text_fusion.layerwise_blocks.#.attn.to_out.0", "txtfusion.layerwise_blocks.#.attn.wo"},
    {"text_fusion.layerwise_blocks.#.attn.norm_q.weight",
     "txtfusion.layerwise_blocks.#.attn.qknorm.qnorm.scale"},
    {"text_fusion.layerwise_blocks.#.attn.norm_k.weight",
     "txtfusion.layerwise_blocks.#.attn.qknorm.knorm.scale"},
    {"text_fusion.layerwise_blocks.#.ff.gate", "txtfusion.layerwise_blocks.#.mlp.gate"},
    {"text_fusion.layerwise_blocks.#.ff.up", "txtfusion.layerwise_blocks.#.mlp.up"},
    {"text_fusion.layerwise_blocks.#.ff.down", "txtfusion.layerwise_blocks.#.mlp.down"},
    {"text_fusion.layerwise_blocks.#.norm1.weight", "txtfusion.layerwise_blocks.#.prenorm.scale"},
    {"text_fusion.layerwise_blocks.#.norm2.weight", "txtfusion.layerwise_blocks.#.postnorm.scale"},
    {"text_fusion.refiner_blocks.#.attn.to_q", "txtfusion.refiner_blocks.#.attn.wq"},
    {"text_fusion.refiner_blocks.#.attn.to_k", "txtfusion.refiner_blocks.#.attn.wk"},
    {"text_fusion.refiner_blocks.#.attn.to_v", "txtfusion.refiner_blocks.#.attn.wv"},
    {"text_fusion.refiner_blocks.#.attn.to_gate", "txtfusion.refiner_blocks.#.attn.gate"},
    {"text_fusion.refiner_blocks.#.attn.to_out.0", "txtfusion.refiner_blocks.#.attn.wo"},
    {"text_fusion.refiner_blocks.#.attn.norm_q.weight", "txtfusion.refiner_blocks.#.attn.qknorm.qnorm.scale"},
    {"text_fusion.refiner_blocks.#.attn.norm_k.weight", "txtfusion.refiner_blocks.#.attn.qknorm.knorm.scale"},
    {"text_fusion.refiner_blocks.#.ff.gate", "txtfusion.refiner_blocks.#.mlp.gate"},
    {"text_fusion.refiner_blocks.#.ff.up", "txtfusion.refiner_blocks.#.mlp.up"},
    {"text_fusion.refiner_blocks.#.ff.down", "txtfusion.refiner_blocks.#.mlp.down"},
    {"text_fusion.refiner_blocks.#.norm1.weight", "txtfusion.refiner_blocks.#.prenorm.scale"},
    {"text_fusion.refiner_blocks.#.norm2.weight", "txtfusion.refiner_blocks.#.postnorm.scale"},
    {"transformer_blocks.#.scale_shift_table", "blocks.#.mod.lin", 0, 1, kFlat},
};

}  // namespace

constinit const Naming kKrea2Names = {
    .title = "Krea 2",
    .all = {"img_in", "time_mod_proj", "text_fusion.projector", "transformer_blocks.0.attn.to_gate"},
    .rows = kRows};

}  // namespace ctq::families
