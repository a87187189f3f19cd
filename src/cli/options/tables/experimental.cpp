// The page of experimental options (-he).
#include "cli/options/rows.h"

namespace ctq::cli {
namespace {

constexpr Page kPage = Page::kExperimental;
std::vector<std::string> types() { return {"fp8", "int8", "fp16", "mxfp8", "nvfp4"}; }
std::vector<std::string> scaling_modes() { return {"block", "axis", "tensor", "row", "block2d", "block3d"}; }
std::vector<std::string> rotated_groups() { return {"4", "16", "64", "256", "1024", "4096"}; }

void add_formats(std::vector<Option>& table) {
  add(table, kPage, "Alternative formats",
      {
          toggle("--smoothquant",
                 "INT8, NVFP4: move difficulty from activations into weights, column by column")
              .built(),
          number("--smoothquant-alpha", "How much is moved; 1 puts all difficulty into the weights")
              .at_least(0)
              .at_most(1)
              .standard("0.5")
              .built(),
          toggle("--convrot", "Rotate groups of input columns before INT8 row-wise quantization").built(),
          choice("--convrot-group-size", "Width of a rotated group")
              .choose(rotated_groups())
              .standard("256")
              .built(),
          toggle("--dynamic-convrot", "Per layer the largest rotation group that divides its width").built(),
          choice("--linear-dtype", "convrot_w4a4: what inputs are quantized to for the product")
              .choose({"int4", "int8"})
              .standard("int4")
              .built(),
          choice("--scale-optimization", "What becomes of the scales while codes are optimized")
              .choose({"fixed", "iterative", "joint", "dualround"})
              .standard("fixed"),
          integer("--scale-refinement", "Rounds of the iterative scale optimization")
              .at_least(1)
              .standard("1"),
      });
}

void add_routing(std::vector<Option>& table) {
  add(table, kPage, "Custom layers",
      {
          pattern("--custom-layers", "Layers to quantize with a type of their own").built(),
          choice("--custom-type", "Their type").choose(types()).built(),
          integer("--custom-block-size", "Their block size").at_least(1).otherwise("--block_size").built(),
          choice("--custom-scaling-mode", "What shares a scale in them")
              .choose(scaling_modes())
              .otherwise("--scaling_mode")
              .built(),
          toggle("--custom-simple", "Round them to nearest; --simple does not reach them").built(),
          toggle("--custom-heur", "Apply the rule of --heur to them").built(),
          toggle("--custom-full-precision-mm", "Mark them to be multiplied in high precision")
              .alias("--custom-fpmm")
              .built(),
          toggle("--custom-convrot", "Rotate groups of their input columns").built(),
          choice("--custom-convrot-group-size", "Width of their rotated groups")
              .choose(rotated_groups())
              .standard("256")
              .built(),
      });
  add(table, kPage, "Fallback of excluded layers",
      {
          choice("--fallback", "Quantize excluded layers with this type instead of keeping them")
              .choose(types())
              .built(),
          integer("--fallback-block-size", "Their block size").at_least(1).otherwise("--block_size").built(),
          toggle("--fallback-simple", "Round them to nearest; --simple does not reach them").built(),
      });
  add(table, kPage, "Per-layer configuration",
      {
          path("--layer-config", "JSON of patterns with settings; comes before every other choice of layers")
              .built(),
          toggle("--fullmatch", "Its patterns must match the whole layer name").built(),
      });
}

void add_hessian_methods(std::vector<Option>& table) {
  add(table, kPage, "GPTQ",
      {
          toggle("--gptq-actorder", "Take columns in the order of a falling Hessian diagonal").built(),
          toggle("--gptq-fast", "Work in blocks of columns; off: column by column").standard("on").built(),
          toggle("--gptq-turbo", "Use the GPU kernel for a block, where there is one").built(),
      });
  add(table, kPage, "QuIP",
      {
          toggle("--quip-actorder", "Take columns in the order of a falling Hessian diagonal")
              .standard("on")
              .built(),
          toggle("--quip-hadamard",
                 "Rotate by a random-sign Hadamard matrix; off: random orthogonal matrices")
              .standard("on")
              .built(),
          integer("--quip-seed", "Seed of signs, permutation and matrices")
              .at_least(0)
              .otherwise("--manual_seed")
              .built(),
          choice("--quip-requant-scheme", "INT8: layout after rotating back, in place of --scaling_mode")
              .choose({"tensor", "block"})
              .standard("tensor")
              .built(),
          toggle("--quip-requant-tensor-per-row", "With the tensor layout, one scale per row")
              .standard("on")
              .built(),
          toggle("--quip-checkpointed", "Work through wide layers in segments of columns").built(),
          integer("--quip-checkpoint-threshold", "Width from which segments are used")
              .at_least(1)
              .standard("8192")
              .built(),
          integer("--quip-checkpoint-segments", "Number of segments").at_least(1).standard("4").built(),
          number("--outlier-percentile", "Share of the values that the scale must reach")
              .at_least(0.5)
              .at_most(1)
              .standard("1.0"),
      });
}

void add_streaming(std::vector<Option>& table) {
  add(table, kPage, "Streaming and memory",
      {
          choice("--streaming-mode", "How early work moves from GPU to CPU")
              .choose({"off", "minimal", "balanced", "aggressive", "auto"})
              .standard("balanced")
              .built(),
          integer("--stream-hadamard-threshold", "Elements from which a rotated layer goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode")
              .built(),
          integer("--stream-hessian-threshold", "Width from which a layer with a Hessian goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode")
              .built(),
          integer("--stream-ldlq-threshold", "Width from which a layer with error feedback goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode")
              .built(),
          integer("--stream-ortho-threshold",
                  "Rows of a random orthogonal matrix from which its layer goes to the CPU")
              .at_least(1)
              .otherwise("by --streaming-mode")
              .built(),
          toggle("--streaming", "Old spelling of --streaming-mode=balanced").hide().built(),
          toggle("--streaming-aggressive", "Old spelling of --streaming-mode=aggressive").hide().built(),
      });
  add(table, kPage, "BF16 compute",
      {
          choice("--bf16-compute", "BF16 arithmetic on GPUs that have it; auto: for large operands")
              .choose({"auto", "on", "off"})
              .standard("auto")
              .built(),
          integer("--bf16-threshold", "Elements from which products, SVD and LDLQ use it")
              .at_least(0)
              .standard("1000000")
              .built(),
          integer("--bf16-hadamard-threshold",
                  "Elements from which Hadamard transforms use it; auto: only when given")
              .at_least(0)
              .standard("500000")
              .built(),
          integer("--bf16-hessian-threshold", "Elements from which Hessians use it")
              .at_least(0)
              .standard("1000000")
              .built(),
      });
}

}  // namespace

void add_experimental_options(std::vector<Option>& table) {
  add_formats(table);
  add_routing(table);
  add_hessian_methods(table);
  add_streaming(table);
}

}  // namespace ctq::cli
