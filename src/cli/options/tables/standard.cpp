// The standard page (-h).
#include "cli/client_option.h"
#include "cli/options/rows.h"
#include "ctq/optimize/optimizer.h"

namespace ctq::cli {
namespace {

constexpr Page kPage = Page::kStandard;

void add_files(std::vector<Option>& table) {
  add(table, kPage, "Files",
      {
          path("--input", "Model to convert, a .safetensors file").alias("-i").built(),
          path("--output", "File to write; without it a name is made from the input's (see docs/cli.md)")
              .alias("-o")
              .built(),
          toggle("--no-clobber", "Refuse to replace an existing output").built(),
          size("--max-shard-size",
               "Split the output into files of at most this size, with an index (4GB, 500MiB)")
              .at_least(1)
              .otherwise("one file")
              .built(),
          toggle("--allow-empty", "Write the output even when nothing in it gets quantized").built(),
          toggle("--remove-ema", "Leave out the averages that training kept beside the weights (model_ema.*)")
              .built(),
          toggle("--requantize", "Accept an input that is already quantized; it is decoded first").built(),
          choice("--names",
                 "Names of the output: ComfyUI's, also where the input has another library's, or the input's "
                 "own")
              .choose({"comfyui", "keep"})
              .otherwise("comfyui, but keep with --client diffusers")
              .built(),
          toggle("--resume", "Go on from the journal of an interrupted run with the same inputs and options")
              .standard("on")
              .built(),
          text("--partition", "Write only part i of n of the plan (i/n, or auto for the scheduler's rank)")
              .built(),
      });
}

void add_target(std::vector<Option>& table) {
  add(table, kPage, "What to write",
      {
          toggle("--comfy_quant",
                 "ComfyUI layout: weight_scale tensors and a JSON marker per layer; stock loaders need it")
              .built(),
          toggle("--full_precision_matrix_mult",
                 "Mark every layer to be multiplied in high precision by the loader")
              .alias("-fpmm")
              .built(),
          toggle("--save-quant-metadata", "Describe the quantized layers in the file's header as well")
              .built(),
          toggle("--fp16", "Target FP16: plain casts, no scales").built(),
          toggle("--int8", "Target INT8, which is also what is written when no target is named")
              .standard("on")
              .built(),
          toggle("--fp8", "Target FP8 E4M3").built(),
          toggle("--nvfp4", "Target NVFP4 (4-bit floats in runs of 16)").built(),
          toggle("--mxfp8", "Target MXFP8 (8-bit floats in runs of 32)").built(),
          choice("--format", "Target by the loader's own format name")
              .choose({"float8_e4m3fn", "float8_e4m3fn_rowwise", "float8_e4m3fn_blockwise",
                       "float8_e4m3fn_block3d", "float8_e5m2", "int8_tensorwise", "int8_axiswise",
                       "int8_blockwise", "nvfp4", "mxfp8", "hybrid_mxfp8", "convrot_w4a4", "asym_w4a8_int8",
                       "awq_w4a16"})
              .built(),
          toggle("--list-formats", "Print the formats this version writes, and who reads them, then exit")
              .built(),
          choice("--output-dtype", "Type of the two-dimensional weights that stay unquantized")
              .choose({"source", "bfloat16", "float16", "float32"})
              .standard("source"),
          pattern("--preserve-layers", "With --output-dtype: weights whose name matches keep their type"),
          choice("--recipe",
                 "Format, layout and the model family's preset in one word, or a .json of options; "
                 "single options win")
              .or_json_file()
              .choose({"comfy-fp8", "comfy-int8", "comfy-nvfp4", "comfy-mxfp8", "comfy-w4a4"})
              .built(),
          text("--client", "Who will load the file: layers that it would misread are kept. One of " +
                               std::string(kClientHelp))
              .otherwise("comfyui, or the nodes that read a format which it lacks")
              .built(),
          choice("--profile", "Start from the defaults of an older program instead of our own")
              .choose({"seed", "peer"})
              .built(),
      });
}

std::vector<std::string> optimizer_words() {
  std::vector<std::string> words;
  for (const optimize::Optimizer* optimizer : optimize::optimizers()) words.emplace_back(optimizer->name);
  return words;
}

void add_quantization(std::vector<Option>& table) {
  add(table, kPage, "How to quantize",
      {
          choice("--scaling_mode",
                 "What shares a scale: a square block, a row (row or axis), or the whole tensor")
              .choose({"block", "axis", "tensor", "row", "block2d", "block3d"})
              .otherwise("block for INT8, tensor for FP8")
              .built(),
          integer("--block_size", "Edge of a block in the block modes")
              .alias("--group_size")
              .at_least(1)
              .standard("128")
              .built(),
          choice(
              "--block-fallback",
              "What becomes of a layer whose sides the block size does not divide; no layout here allows pad")
              .choose({"pad", "row", "skip", "error"})
              .standard("row")
              .built(),
          toggle("--simple", "Round every value to the nearest code, without an optimizer").built(),
          toggle("--heur", "Leave out layers that fit the block size badly").built(),
          pattern("--exclude-layers", "Leave out layers whose name matches this regular expression").built(),
          toggle("--quantize-embeddings",
                 "Also quantize tables of tokens (embed_tokens, shared); ComfyUI reads FP8 and INT8 there")
              .built(),
          choice("--optimizer", "How the code of each value is chosen")
              .choose(optimizer_words())
              .standard("auto")
              .built(),
          choice("--quality",
                 "How much effort to spend: fast rounds to nearest, good is --optimizer auto, best also fits "
                 "scales")
              .choose({"fast", "good", "best"})
              .otherwise("good, unless --optimizer is given")
              .built(),
          number("--max-error", "Choose each layer's format so that its error stays below this")
              .above(0)
              .built(),
          size("--target-size", "Choose each layer's format so that the file stays below this size")
              .at_least(1)
              .built(),
          duration("--time",
                   "Time the optimizers may take altogether (30m, 1h30m), spent where the error is largest; "
                   "what is left over is rounded to nearest")
              .at_least(1)
              .otherwise("no limit")
              .built(),
          integer("--manual_seed", "Seed of everything random; -1 picks one and prints it")
              .at_least(-1)
              .at_most(4294967295.0)
              .standard("0")
              .built(),
          device("--device", "Where to calculate: auto, cpu, cuda or cuda:N").standard("auto").built(),
          integer("--threads", "Worker threads of the CPU").at_least(1).otherwise("all cores").built(),
      });
  add(table, kPage, "QuIP storage",
      {
          toggle("--quip-store-transformed", "Keep weights as QuIP rotated them; needs a loader that knows")
              .shortcut("--quip-no-store-transformed", "false")
              .built(),
      });
  add(table, kPage, "Memory",
      {
          toggle("--low-memory", "Read and write one tensor at a time and calculate on the CPU")
              .alias("-lm")
              .built(),
          toggle("--no-memory-limits", "Keep everything on the GPU and skip all memory checks").built(),
          toggle("--calib_cpu", "Keep synthetic calibration rows in memory with --low-memory").built(),
          size("--max-memory", "Bound on resident memory, the mapped input not counted")
              .at_least(1)
              .otherwise("nine tenths of what is free")
              .built(),
      });
}

void add_calibration(std::vector<Option>& table) {
  add(table, kPage, "Calibration and quality",
      {
          integer("--calib_samples", "Rows of synthetic calibration data per input width")
              .at_least(0)
              .standard("6144"),
          choice("--bias-correction",
                 "Adjust the bias that belongs to a quantized weight; auto: with real data only")
              .choose({"auto", "on", "off", "norm"})
              .standard("auto")
              .built(),
          path("--calibration-data", "Statistics of each layer's input, .safetensors or .json").built(),
          path("--calibration-lora",
               "A LoRA whose A matrices say which inputs matter, where none are recorded")
              .built(),
          toggle("--static-activations", "Write the measured input scale of layers that have one").built(),
          toggle("--input_scale", "Write an input scale of 1.0 for every quantized layer").built(),
          path("--input-scales", "Take input scales from a .json or another quantized .safetensors").built(),
          toggle("--report-quality", "Print the error of every layer as stored, after the conversion")
              .built(),
          number("--quality-threshold",
                 "SQNR in dB below which a layer is marked; given explicitly, exit 3 when one is")
              .standard("30.0")
              .built(),
          path("--quality-json", "Write the quality report to this JSON file as well").built(),
          paths("--report",
                "Write everything about the conversion, or the plan of a dry run, in the form of the suffix "
                "(.html, .json, .csv); with analyze --blocks that analysis (.html, .json)")
              .built(),
          toggle("--no-normalize-scales", "Keep one-element scales as shape [1]"),
      });
}

void add_loras(std::vector<Option>& table) {
  add(table, kPage, "LoRA merging",
      {
          path("--merge-lora", "Add one LoRA to the weights first").built(),
          paths("--merge-loras", "Add several LoRAs, in the order given").built(),
          text("--merge-lora-scale", "Strength of the LoRAs: one number, or a comma list with one per file")
              .standard("1.0")
              .built(),
          toggle("--merge-lora-dampen", "With several LoRAs, let the n-th count 0.9^n")
              .standard("on")
              .built(),
          path("--lora-map", "JSON that names base layers for LoRA keys no rule finds").built(),
          toggle("--allow-partial-lora", "Merge a LoRA of which half or more matches nothing in the model")
              .built(),
          path("--lora-only-to", "Write the merged model unquantized to this file and stop").built(),
      });
}

void add_running(std::vector<Option>& table) {
  add(table, kPage, "Dry run, log, configuration",
      {
          choice("--dry-run",
                 "analyze, also when bare: print what would become of every tensor, write nothing; "
                 "create-template: write a --layer-config to edit")
              .choose({"analyze", "create-template"})
              .value_optional()
              .built(),
          toggle("--json", "Print the dry run as JSON").built(),
          path("--template", "With analyze: the same as --dry-run create-template; =PATH names the file")
              .value_optional()
              .built(),
          toggle("--blocks", "With analyze: show what a plain FP8 cast costs each block, for any transformer")
              .built(),
          toggle("--error", "With analyze: show each layer's error in --formats, rounded to nearest").built(),
          text("--formats", "With --error or --suggest: comma list of formats (--list-formats)")
              .otherwise("the target, and larger ones for --suggest")
              .built(),
          toggle("--suggest",
                 "With analyze: print a --layer-config that gives each layer the smallest of --formats that "
                 "reaches --quality-threshold")
              .built(),
          choice("--verbose", "How much is logged; -v is VERBOSE, -vv DEBUG, -q MINIMAL")
              .choose({"DEBUG", "VERBOSE", "NORMAL", "MINIMAL"})
              .shortcut("-v", "VERBOSE")
              .shortcut("-vv", "DEBUG")
              .shortcut("-q", "MINIMAL")
              .standard("NORMAL")
              .built(),
          toggle("--verbose-pinned", "Log every transfer from host to device"),
          choice("--progress", "How progress is shown; json writes one object per line to standard error")
              .choose({"auto", "bar", "plain", "json", "none"})
              .standard("auto")
              .built(),
          toggle("--strict",
                 "Fail on what is otherwise a warning: unused patterns, weights that hold no numbers")
              .built(),
          path("--config", "Read options from a TOML or INI file; the command line wins").built(),
          toggle("--print-config", "Print the effective options in the form of --config and exit").built(),
      });
}

void add_help(std::vector<Option>& table) {
  add(table, kPage, "Help",
      {
          toggle("--help", "Print this page and exit").alias("-h").built(),
          toggle("--help-filters", "Print the layer filters and exit").alias("-hf").built(),
          toggle("--help-experimental", "Print the experimental options and exit").alias("-he").built(),
          toggle("--help-advanced", "Print the advanced options and exit").alias("-ha").built(),
          toggle("--help-learned", "Print the options of learned rounding and exit").alias("-hl").built(),
          toggle("--help-modes", "Print the conversion and utility modes and exit").alias("-hm").built(),
          toggle("--help-lora", "Print the options of LoRA extraction and exit").alias("-hlr").built(),
          toggle("--help-json", "Print all options and commands as JSON and exit").built(),
          toggle("--version", "Print name, version and build target and exit").built(),
      });
}

}  // namespace

void add_standard_options(std::vector<Option>& table) {
  add_files(table);
  add_target(table);
  add_quantization(table);
  add_calibration(table);
  add_loras(table);
  add_running(table);
  add_help(table);
}

}  // namespace ctq::cli
