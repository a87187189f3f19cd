// The standard page (-h).
#include <algorithm>

#include "cli/command_input.h"
#include "cli/conversion/conversion_options.h"
#include "cli/options/rows.h"
#include "format/codec.h"

namespace ctq::cli {
namespace {

constexpr Page kPage = Page::kStandard;

void add_files(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "Files",
      {
          path(settings.input.path, "--input", "Model to convert, a .safetensors file").alias("-i"),
          path(settings.output.path, "--output",
               "File to write; without it a name is made from the input's (see docs/cli.md)")
              .alias("-o"),
          toggle(settings.output.no_clobber, "--no-clobber", "Refuse to replace an existing output"),
          size(settings.output.max_shard_bytes, "--max-shard-size",
               "Split the output into files of at most this size, with an index (4GB, 500MiB)")
              .at_least(1)
              .otherwise("one file"),
          toggle(settings.output.allow_empty, "--allow-empty",
                 "Write the output even when nothing in it gets quantized"),
          toggle(settings.input.remove_ema, "--remove-ema",
                 "Leave out the averages that training kept beside the weights (model_ema.*)"),
          toggle(settings.input.requantize, "--requantize",
                 "Accept an input that is already quantized; it is decoded first"),
          choice(settings.input.names, "--names",
                 "Names of the output: ComfyUI's, also where the input has another library's, or the input's "
                 "own")
              .otherwise("comfyui, but keep with --client diffusers"),
          toggle(settings.output.resume, "--resume",
                 "Go on from the journal of an interrupted run with the same inputs and options"),
          text(settings.output.partition, "--partition",
               "Write only part i of n of the plan (i/n, or auto for the scheduler's rank)"),
      });
}

/// Of the registry, each once.
std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const format::Codec& codec : format::registry()) {
    if (std::ranges::count(names, codec.format) == 0) names.emplace_back(codec.format);
  }
  return names;
}

void add_target(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "What to write",
      {
          toggle(settings.output.comfy_layout, "--comfy_quant",
                 "ComfyUI layout: weight_scale tensors and a JSON marker per layer; stock loaders need it"),
          toggle(settings.output.full_precision_matrix_mult, "--full_precision_matrix_mult",
                 "Mark every layer to be multiplied in high precision by the loader")
              .alias("-fpmm"),
          toggle(settings.output.save_quant_metadata, "--save-quant-metadata",
                 "Describe the quantized layers in the file's header as well"),
          choice(settings.output.kept_type, "--output-dtype", "Type of 2-D weights that stay unquantized")
              .choose({"source", "bfloat16", "float16", "float32"}),
          pattern(settings.output.keep_type, "--preserve-layers",
                  "With --output-dtype: such weights keep the type that they have"),
          toggle(own.fp16, "--fp16", "Target FP16: plain casts, no scales"),
          toggle(own.int8, "--int8", "Target INT8, which is also what is written when no target is named"),
          toggle(own.fp8, "--fp8", "Target FP8 E4M3"),
          toggle(own.nvfp4, "--nvfp4", "Target NVFP4 (4-bit floats in runs of 16)"),
          toggle(own.mxfp8, "--mxfp8", "Target MXFP8 (8-bit floats in runs of 32)"),
          choice(settings.target.format, "--format", "Target by the loader's own format name")
              .choose(format_names()),
          toggle("--list-formats", "Print the formats this version writes, and who reads them, then exit"),
          choice(own.recipe, "--recipe",
                 "Format, layout and the model family's preset in one word, or a .json of options; "
                 "single options win")
              .or_json_file()
              .choose({"comfy-fp8", "comfy-int8", "comfy-nvfp4", "comfy-mxfp8", "comfy-w4a4"}),
          text(settings.output.client, "--client",
               "Who will load the file: layers that it would misread are kept. One of " +
                   std::string(kClientHelp))
              .otherwise("comfyui, or the nodes that read a format which it lacks"),
          choice(own.profile, "--profile", "Start from the defaults of an older program instead of our own")
              .choose({"seed", "peer"}),
      });
}

void add_quantization(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "How to quantize",
      {
          choice(settings.target.scaling, "--scaling_mode",
                 "What shares a scale: a square block, a row (row or axis), or the whole tensor")
              .choose({"block", "axis", "tensor", "row", "block2d", "block3d"})
              .otherwise("block for INT8, tensor for FP8"),
          integer(settings.target.block_size, "--block_size", "Edge of a block in the block modes")
              .alias("--group_size")
              .at_least(1),
          choice(settings.target.block_fallback, "--block-fallback",
                 "What becomes of a layer whose sides the block size does not divide; no layout here allows "
                 "pad"),
          toggle(settings.rounding.simple, "--simple",
                 "Round every value to the nearest code, without an optimizer"),
          toggle(settings.layers.heuristic, "--heur", "Leave out layers that fit the block size badly"),
          pattern(settings.layers.exclude, "--exclude-layers",
                  "Leave out layers whose name matches this regular expression"),
          toggle(settings.layers.embeddings, "--quantize-embeddings",
                 "Also quantize tables of tokens (embed_tokens, shared); ComfyUI reads FP8 and INT8 there"),
          toggle(settings.layers.convolutions, "--quantize-conv",
                 "With FP8: also cast convolutions to it, without a scale, as loaders read them"),
          choice(settings.rounding.optimizer, "--optimizer", "How the code of each value is chosen"),
          choice(settings.rounding.quality, "--quality",
                 "How much effort to spend: fast rounds to nearest, good is --optimizer auto, best also fits "
                 "scales")
              .otherwise("good, unless --optimizer is given"),
          number(settings.goal.max_error, "--max-error",
                 "Choose each layer's format so that its error stays below this")
              .above(0),
          size(settings.goal.target_bytes, "--target-size",
               "Choose each layer's format so that the file stays below this size")
              .at_least(1),
          duration(settings.rounding.seconds, "--time",
                   "Time the optimizers may take altogether (30m, 1h30m), spent where the error is largest; "
                   "what is left over is rounded to nearest")
              .at_least(1)
              .otherwise("no limit"),
          integer(settings.rounding.seed, "--manual_seed",
                  "Seed of everything random; -1 picks one and prints it")
              .at_least(-1)
              .at_most(4294967295.0)
              .standard("0"),
          device(settings.compute.device, "--device", "Where to calculate: auto, cpu, cuda or cuda:N"),
          integer(settings.compute.threads, "--threads", "Worker threads of the CPU")
              .at_least(1)
              .otherwise("the cores that are free when the run begins"),
      });
  add(table, kPage, "QuIP storage",
      {
          toggle(settings.rounding.quip_transformed, "--quip-store-transformed",
                 "Keep weights as QuIP rotated them; needs a loader that knows")
              .shortcut("--quip-no-store-transformed", "false"),
      });
  add(table, kPage, "Memory",
      {
          toggle(settings.compute.low_memory, "--low-memory",
                 "Read and write one tensor at a time and calculate on the CPU")
              .alias("-lm"),
          toggle(settings.compute.no_memory_limits, "--no-memory-limits",
                 "Keep everything on the GPU and skip all memory checks"),
          toggle(own.calib_cpu, "--calib_cpu", "Keep synthetic calibration rows in memory with --low-memory")
              .hide(),
          toggle(own.verbose_pinned, "--verbose-pinned", "Log transfers to a GPU").hide(),
          toggle(own.normalize_scales, "--normalize-scales", "Scales of one element as scalars").hide(),
          size(settings.compute.max_memory, "--max-memory",
               "Bound on resident memory, the mapped input not counted")
              .at_least(1)
              .otherwise("nine tenths of what is free"),
      });
}

void add_calibration(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "Calibration and quality",
      {
          choice(settings.calibration.bias_correction, "--bias-correction",
                 "Adjust the bias that belongs to a quantized weight; auto: with real data only"),
          path(settings.calibration.data, "--calibration-data",
               "Statistics of each layer's input, .safetensors or .json"),
          toggle(settings.calibration.allow_random, "--allow-random-calibration",
                 "Use statistics of random rows too, which say nothing of the model"),
          path(settings.calibration.lora, "--calibration-lora",
               "A LoRA whose A matrices say which inputs matter, where none are recorded"),
          toggle(settings.calibration.static_activations, "--static-activations",
                 "Write the measured input scale of layers that have one"),
          toggle(settings.calibration.unit_input_scales, "--input_scale",
                 "Write an input scale of 1.0 for every quantized layer"),
          path(settings.calibration.input_scales, "--input-scales",
               "Take input scales from a .json or another quantized .safetensors"),
          toggle(settings.report.quality, "--report-quality",
                 "Print the error of every layer as stored, after the conversion"),
          number(settings.report.threshold_db, "--quality-threshold",
                 "SQNR in dB below which a layer is marked, with a warning"),
          toggle(settings.report.threshold_fails, "--quality-threshold-fail",
                 "Exit 3 when a layer is below --quality-threshold"),
          path(settings.report.quality_json, "--quality-json",
               "Write the quality report to this JSON file as well"),
          paths(settings.report.files, "--report",
                "Write everything about the conversion, or the plan of a dry run, in the form of the suffix "
                "(.html, .json, .csv); with analyze --blocks that analysis (.html, .json)"),
      });
}

void add_loras(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "LoRA merging",
      {
          path(settings.loras.last_file, "--merge-lora", "Add one LoRA to the weights first"),
          paths(settings.loras.files, "--merge-loras", "Add several LoRAs, in the order given"),
          text(settings.loras.strengths, "--merge-lora-scale",
               "Strength of the LoRAs: one number, or a comma list with one per file"),
          toggle(settings.loras.dampen, "--merge-lora-dampen",
                 "With several LoRAs, let the n-th count 0.9^n"),
          path(settings.loras.map, "--lora-map", "JSON that names base layers for LoRA keys no rule finds"),
          toggle(settings.loras.allow_partial, "--allow-partial-lora",
                 "Merge a LoRA of which half or more matches nothing in the model"),
          path(settings.loras.merged_only, "--lora-only-to",
               "Write the merged model unquantized to this file and stop"),
      });
}

void add_running(std::vector<Option>& table, ConversionOptions& options) {
  auto& [settings, own] = options;
  add(table, kPage, "Dry run, log, configuration",
      {
          choice(settings.report.dry_run, "--dry-run",
                 "analyze, also when bare: print what would become of every tensor, write nothing; "
                 "create-template: write a --layer-config to edit")
              .value_optional(),
          toggle(settings.report.json, "--json", "Print the dry run as JSON"),
          path(settings.report.layer_template, "--template",
               "With analyze: the same as --dry-run create-template; =PATH names the file")
              .value_optional(),
          toggle(settings.report.blocks, "--blocks",
                 "With analyze: show what a plain FP8 cast costs each block, for any transformer"),
          toggle(settings.report.errors, "--error",
                 "With analyze: show each layer's error in --formats, rounded to nearest"),
          text(settings.report.formats, "--formats",
               "With --error or --suggest: comma list of formats (--list-formats)")
              .otherwise("the target, and larger ones for --suggest"),
          toggle(settings.report.suggest, "--suggest",
                 "With analyze: print a --layer-config that gives each layer the smallest of --formats that "
                 "reaches --quality-threshold"),
          choice(own.verbose, "--verbose", "How much is logged; -v is VERBOSE, -vv DEBUG, -q MINIMAL")
              .choose({"DEBUG", "VERBOSE", "NORMAL", "MINIMAL"})
              .shortcut("-v", "VERBOSE")
              .shortcut("-vv", "DEBUG")
              .shortcut("-q", "MINIMAL"),
          choice(own.progress, "--progress",
                 "How progress is shown; json writes one object per line to standard error")
              .choose({"auto", "bar", "plain", "json", "none"}),
          toggle(settings.report.strict, "--strict",
                 "Fail on what is otherwise a warning: unused patterns, weights that hold no numbers"),
          path(own.config, "--config", "Read options from a TOML or INI file; the command line wins"),
          toggle(own.print_config, "--print-config",
                 "Print the effective options in the form of --config and exit"),
      });
}

void add_pages(std::vector<Option>& table) {
  add(table, kPage, "Help",
      {
          toggle("--help", "Print the first options, and where the others are, and exit").alias("-h"),
          toggle("--help-standard", "Print the standard options and exit").alias("-hs"),
          toggle("--help-filters", "Print the layer filters and exit").alias("-hf"),
          toggle("--help-experimental", "Print the experimental options and exit").alias("-he"),
          toggle("--help-advanced", "Print the advanced options and exit").alias("-ha"),
          toggle("--help-learned", "Print the options of learned rounding and exit").alias("-hl"),
          toggle("--help-modes", "Print the conversion and utility modes and exit").alias("-hm"),
          toggle("--help-lora", "Print the options of LoRA extraction and exit").alias("-hlr"),
          toggle("--help-json", "Print all options and commands as JSON and exit"),
          toggle("--version", "Print name, version and build target and exit"),
      });
}

}  // namespace

void add_standard_options(std::vector<Option>& table, ConversionOptions& options) {
  add_files(table, options);
  add_target(table, options);
  add_quantization(table, options);
  add_calibration(table, options);
  add_loras(table, options);
  add_running(table, options);
  add_pages(table);
}

}  // namespace ctq::cli
