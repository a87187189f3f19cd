// The page of experimental options (-he).
#include "cli/conversion/conversion_options.h"
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

constexpr Page kPage = Page::kExperimental;
std::vector<std::string> types() { return {"fp8", "int8", "fp16", "mxfp8", "nvfp4"}; }
std::vector<std::string> scaling_modes() { return {"block", "axis", "tensor", "row", "block2d", "block3d"}; }
std::vector<std::string> rotated_groups() { return {"4", "16", "64", "256", "1024", "4096"}; }

void add_formats(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "Alternative formats",
      {
          toggle(settings.calibration.smoothquant, "--smoothquant",
                 "INT8, NVFP4: move difficulty from activations into weights, column by column"),
          number(settings.calibration.smoothquant_alpha, "--smoothquant-alpha",
                 "How much is moved; 1 puts all difficulty into the weights")
              .at_least(0)
              .at_most(1),
          toggle(settings.target.convrot, "--convrot",
                 "Rotate groups of input columns before INT8 row-wise quantization"),
          choice(settings.target.convrot_group, "--convrot-group-size", "Width of a rotated group")
              .choose(rotated_groups()),
          toggle(settings.target.dynamic_convrot, "--dynamic-convrot",
                 "Per layer the largest rotation group that divides its width"),
          choice(settings.target.linear_dtype, "--linear-dtype",
                 "convrot_w4a4: what inputs are quantized to for the product"),
      });
}

void add_routing(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "Custom layers",
      {
          pattern(settings.layers.custom, "--custom-layers", "Layers to quantize with a type of their own"),
          choice(settings.layers.custom_type, "--custom-type", "Their type").choose(types()),
          integer(settings.layers.custom_block_size, "--custom-block-size", "Their block size")
              .at_least(1)
              .otherwise("--block_size"),
          choice(settings.layers.custom_scaling, "--custom-scaling-mode", "What shares a scale in them")
              .choose(scaling_modes())
              .otherwise("--scaling_mode"),
          toggle(settings.layers.custom_simple, "--custom-simple",
                 "Round them to nearest; --simple does not reach them"),
          toggle(settings.layers.custom_heuristic, "--custom-heur", "Apply the rule of --heur to them"),
          toggle(settings.layers.custom_full_precision, "--custom-full-precision-mm",
                 "Mark them to be multiplied in high precision")
              .alias("--custom-fpmm"),
          toggle(settings.layers.custom_convrot, "--custom-convrot", "Rotate groups of their input columns"),
          choice(settings.layers.custom_convrot_group, "--custom-convrot-group-size",
                 "Width of their rotated groups")
              .choose(rotated_groups()),
      });
  add(table, kPage, "Fallback of excluded layers",
      {
          choice(settings.layers.fallback_type, "--fallback",
                 "Quantize excluded layers with this type instead of keeping them")
              .choose(types()),
          integer(settings.layers.fallback_block_size, "--fallback-block-size", "Their block size")
              .at_least(1)
              .otherwise("--block_size"),
          toggle(settings.layers.fallback_simple, "--fallback-simple",
                 "Round them to nearest; --simple does not reach them"),
      });
  add(table, kPage, "Per-layer configuration",
      {
          path(settings.layers.config, "--layer-config",
               "JSON of patterns with settings; comes before every other choice of layers"),
          toggle(settings.layers.config_full_match, "--fullmatch",
                 "Its patterns must match the whole layer name"),
      });
}

void add_hessian_methods(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "GPTQ",
      {
          toggle(settings.rounding.gptq_actorder, "--gptq-actorder",
                 "Take columns in the order of a falling Hessian diagonal"),
          toggle(settings.rounding.gptq_blocks, "--gptq-fast",
                 "Work in blocks of columns; off: column by column"),
          toggle(settings.rounding.gptq_gpu_kernel, "--gptq-turbo",
                 "Use the GPU kernel for a block, where there is one"),
      });
  add(table, kPage, "QuIP",
      {
          toggle(settings.rounding.quip_actorder, "--quip-actorder",
                 "Take columns in the order of a falling Hessian diagonal"),
          toggle(settings.rounding.quip_hadamard, "--quip-hadamard",
                 "Rotate by a random-sign Hadamard matrix; off: random orthogonal matrices"),
          integer(settings.rounding.quip_seed, "--quip-seed", "Seed of signs, permutation and matrices")
              .at_least(0)
              .otherwise("--manual_seed"),
          choice(settings.rounding.quip_scheme, "--quip-requant-scheme",
                 "INT8: layout after rotating back, in place of --scaling_mode")
              .choose({"tensor", "block"}),
          toggle(settings.rounding.quip_per_row, "--quip-requant-tensor-per-row",
                 "With the tensor layout, one scale per row"),
          toggle(settings.rounding.quip_segmented, "--quip-checkpointed",
                 "Work through wide layers in segments of columns"),
          integer(settings.rounding.quip_segments_from, "--quip-checkpoint-threshold",
                  "Width from which segments are used")
              .at_least(1),
          integer(settings.rounding.quip_segments, "--quip-checkpoint-segments", "Number of segments")
              .at_least(1),
      });
}

void add_streaming(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "Streaming and memory",
      {
          choice(settings.compute.streaming_mode, "--streaming-mode", "How early work moves from GPU to CPU")
              .choose({"off", "minimal", "balanced", "aggressive", "auto"}),
          integer(settings.compute.stream_hadamard, "--stream-hadamard-threshold",
                  "Elements from which a rotated layer goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode"),
          integer(settings.compute.stream_hessian, "--stream-hessian-threshold",
                  "Width from which a layer with a Hessian goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode"),
          integer(settings.compute.stream_ldlq, "--stream-ldlq-threshold",
                  "Width from which a layer with error feedback goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode"),
          integer(settings.compute.stream_ortho, "--stream-ortho-threshold",
                  "Rows of a random orthogonal matrix from which its layer goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode"),
          toggle(own.streaming, "--streaming", "Old spelling of --streaming-mode=balanced").hide(),
          toggle(own.streaming_aggressive, "--streaming-aggressive",
                 "Old spelling of --streaming-mode=aggressive")
              .hide(),
      });
  add(table, kPage, "BF16 compute",
      {
          choice(settings.compute.bf16, "--bf16-compute",
                 "BF16 arithmetic on GPUs that have it; auto: for large operands"),
          integer(settings.compute.bf16_product, "--bf16-threshold",
                  "Elements from which products, SVD and LDLQ use it")
              .at_least(0),
          integer(settings.compute.bf16_hadamard, "--bf16-hadamard-threshold",
                  "Elements from which Hadamard transforms use it; auto: only when given")
              .at_least(0),
          integer(settings.compute.bf16_hessian, "--bf16-hessian-threshold",
                  "Elements from which Hessians use it")
              .at_least(0),
      });
}

}  // namespace

void add_experimental_options(std::vector<Option>& table, ConversionOptions& options) {
  add_formats(table, options);
  add_routing(table, options);
  add_hessian_methods(table, options);
  add_streaming(table, options);
}

}  // namespace ctq::cli
