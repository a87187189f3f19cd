// All that can be asked of a conversion, as plain values. A front end fills it; prepare() checks it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctq/engine/setting.h"

namespace ctq::engine {

using Path = std::filesystem::path;

/// A default by its word, which is one of its type's.
template <typename E>
E usual(std::string_view word) {
  return value_of<E>(word).value();
}

/// Which model, and how it is read.
struct Input {
  Setting<Path> path{"input.path"};  ///< a file, an index of shards, one of several shards, or a folder
  Setting<bool> requantize{"input.requantize"};        ///< a quantized one is decoded first
  Setting<std::optional<Names>> names{"input.names"};  ///< nothing: those of the client
  Setting<bool> remove_ema{"input.remove_ema"};
};

/// The files that are written, and what holds for a whole one.
struct Output {
  Setting<Path> path{"output.path"};  ///< empty: derived from the input's name
  Setting<bool> no_clobber{"output.no_clobber"};
  Setting<uint64_t> max_shard_bytes{"output.max_shard_bytes"};  ///< 0: one file
  Setting<bool> allow_empty{"output.allow_empty"};
  Setting<bool> resume{"output.resume", true};
  Setting<std::string> partition{"output.partition"};  ///< as parse_partition() takes it
  Setting<bool> comfy_layout{"output.comfy_layout"};   ///< chosen or not; else by what the content needs
  Setting<bool> full_precision_matrix_mult{"output.full_precision_matrix_mult"};
  Setting<bool> save_quant_metadata{"output.save_quant_metadata"};
  Setting<std::string> kept_type{"output.kept_type", "source"};  ///< of unquantized 2-D weights
  Setting<std::string> keep_type{"output.keep_type"};            ///< a pattern: these keep theirs
  Setting<std::string> client{"output.client"};                  ///< as client::parse_client() takes it
};

/// What layers become.
struct Target {
  /// "int8", "fp8", "nvfp4", "mxfp8" or "fp16"; of no account with `format`.
  Setting<std::string> type{"target.type", "int8"};
  Setting<std::string> format{"target.format"};    ///< the loader's own word; empty: by type
  Setting<std::string> scaling{"target.scaling"};  ///< "row", "block" ...; empty: the type's own
  Setting<int64_t> block_size{"target.block_size", 128};
  Setting<plan::BlockFallback> block_fallback{"target.block_fallback", usual<plan::BlockFallback>("row")};
  Setting<bool> convrot{"target.convrot"};
  Setting<int64_t> convrot_group{"target.convrot_group", 256};
  Setting<bool> dynamic_convrot{"target.dynamic_convrot"};
  Setting<format::LinearDtype> linear_dtype{"target.linear_dtype", usual<format::LinearDtype>("int4")};
  Setting<bool> logarithmic_scales{"target.logarithmic_scales"};  ///< FP8: a byte per scale
  Setting<bool> shared_scales{"target.shared_scales"};            ///< one scale for the weights of a module
  /// Of the legacy layout: elements of the `scaled_fp8` marker, and scale_input as a copy of scale_weight.
  Setting<std::optional<int64_t>> scaled_fp8_elements{"target.scaled_fp8_elements"};
  Setting<bool> copied_input_scales{"target.copied_input_scales"};
};

/// Which layers become it, and which something else.
struct Layers {
  Setting<std::vector<std::string>> presets{"layers.presets"};
  Setting<families::FilterSet> filter_set{"layers.filter_set", usual<families::FilterSet>("seed")};
  Setting<bool> by_family{"layers.by_family"};     ///< without presets: that of the model's family
  Setting<std::string> exclude{"layers.exclude"};  ///< a regular expression, as all patterns here
  Setting<bool> heuristic{"layers.heuristic"};
  Setting<bool> embeddings{"layers.embeddings"};
  Setting<bool> convolutions{"layers.convolutions"};  ///< of FP8
  Setting<Path> config{"layers.config"};
  Setting<bool> config_full_match{"layers.config_full_match"};
  Setting<std::vector<std::string>> keep_containing{"layers.keep_containing"};
  Setting<std::vector<std::string>> remove_containing{"layers.remove_containing"};
  Setting<int64_t> min_elements{"layers.min_elements"};
  Setting<int64_t> min_side{"layers.min_side"};

  /// Layers with a type of their own.
  Setting<std::string> custom{"layers.custom"};
  Setting<std::string> custom_type{"layers.custom_type"};
  Setting<int64_t> custom_block_size{"layers.custom_block_size"};
  Setting<std::string> custom_scaling{"layers.custom_scaling"};
  Setting<bool> custom_simple{"layers.custom_simple"};
  Setting<bool> custom_heuristic{"layers.custom_heuristic"};
  Setting<bool> custom_full_precision{"layers.custom_full_precision"};
  Setting<bool> custom_convrot{"layers.custom_convrot"};
  Setting<int64_t> custom_convrot_group{"layers.custom_convrot_group", 256};

  /// What excluded layers become.
  Setting<std::string> fallback_type{"layers.fallback_type"};
  Setting<int64_t> fallback_block_size{"layers.fallback_block_size"};
  Setting<bool> fallback_simple{"layers.fallback_simple"};
};

/// Formats by measurement.
struct Goal {
  Setting<double> max_error{"goal.max_error"};
  Setting<uint64_t> target_bytes{"goal.target_bytes"};
};

/// How the code of each value is chosen.
struct Rounding {
  Setting<const optimize::Optimizer*> optimizer{"rounding.optimizer",
                                                usual<const optimize::Optimizer*>("auto")};
  Setting<std::optional<Quality>> quality{"rounding.quality"};
  Setting<bool> simple{"rounding.simple"};
  Setting<std::optional<optimize::Scales>> scales{"rounding.scales"};  ///< nothing: by quality
  Setting<std::optional<double>> damping{"rounding.damping"};  ///< of a recorded second moment; nothing: auto
  Setting<int64_t> sweeps{"rounding.sweeps"};
  Setting<int64_t> seed{"rounding.seed"};                      ///< -1: any
  Setting<std::optional<double>> seconds{"rounding.seconds"};  ///< of all optimizers
  Setting<optimize::DirectObjective> objective{"rounding.objective",
                                               usual<optimize::DirectObjective>("mixed")};
  Setting<double> direct_damping{"rounding.direct_damping", 4};
  Setting<bool> gptq_actorder{"rounding.gptq_actorder"};
  Setting<bool> gptq_blocks{"rounding.gptq_blocks", true};
  Setting<bool> gptq_gpu_kernel{"rounding.gptq_gpu_kernel"};

  Setting<bool> quip_actorder{"rounding.quip_actorder", true};
  Setting<bool> quip_hadamard{"rounding.quip_hadamard", true};
  Setting<int64_t> quip_seed{"rounding.quip_seed"};
  Setting<bool> quip_transformed{"rounding.quip_transformed"};  ///< stored as it is rotated
  Setting<std::string> quip_scheme{"rounding.quip_scheme", "tensor"};
  Setting<bool> quip_per_row{"rounding.quip_per_row", true};
  Setting<bool> quip_segmented{"rounding.quip_segmented"};
  Setting<int64_t> quip_segments_from{"rounding.quip_segments_from", 8192};
  Setting<int64_t> quip_segments{"rounding.quip_segments", 4};
};

/// Iterative learned rounding, and AdaRound.
struct Learning {
  Setting<int64_t> iterations{"learning.iterations", 1000};
  Setting<std::optional<double>> lr{"learning.lr"};
  Setting<bool> use_speed{"learning.use_speed"};
  Setting<bool> full_svd{"learning.full_svd"};
  Setting<double> top_p{"learning.top_p", 0.2};
  Setting<int64_t> min_k{"learning.min_k", 64};
  Setting<int64_t> max_k{"learning.max_k", 1024};
  Setting<optimize::Schedule> schedule{"learning.schedule", usual<optimize::Schedule>("adaptive")};
  Setting<double> gamma{"learning.gamma", 0.99};
  Setting<int64_t> patience{"learning.patience", 9};
  Setting<double> factor{"learning.factor", 0.92};
  Setting<double> lowest{"learning.lowest", 1e-10};
  Setting<int64_t> cooldown{"learning.cooldown", 6};
  Setting<double> threshold{"learning.threshold", 0};
  Setting<optimize::ThresholdMode> threshold_mode{"learning.threshold_mode",
                                                  usual<optimize::ThresholdMode>("rel")};
  Setting<optimize::StallReset> stall_reset{"learning.stall_reset",
                                            usual<optimize::StallReset>("simple-reset")};
  Setting<double> shape_influence{"learning.shape_influence", 1};
  Setting<double> stop_loss{"learning.stop_loss", 1e-8};
  Setting<double> stop_lr{"learning.stop_lr", 1e-10};
  Setting<int64_t> stop_stall{"learning.stop_stall", 1000};

  Setting<optimize::AdaRoundSolver> solver{"learning.solver", usual<optimize::AdaRoundSolver>("adamw")};
  Setting<double> reg_lambda{"learning.reg_lambda", 0.015};
  Setting<double> beta_start{"learning.beta_start", 20};
  Setting<double> beta_end{"learning.beta_end", 2};
  Setting<double> least_gain{"learning.least_gain", 5e-6};
  Setting<bool> half_products{"learning.half_products"};  ///< on a GPU
  Setting<int64_t> drawn_rows{"learning.drawn_rows"};     ///< of random input, where none is recorded
  Setting<int64_t> drawn_at_once{"learning.drawn_at_once"};
};

/// What is known of the layers' inputs, and what is done with it.
struct Calibration {
  Setting<Path> data{"calibration.data"};
  Setting<bool> allow_random{"calibration.allow_random"};  ///< also statistics of random rows
  Setting<Path> lora{"calibration.lora"};
  Setting<BiasWord> bias_correction{"calibration.bias_correction", BiasWord::kAuto};
  Setting<bool> smoothquant{"calibration.smoothquant"};
  Setting<double> smoothquant_alpha{"calibration.smoothquant_alpha", 0.5};
  Setting<bool> static_activations{"calibration.static_activations"};
  Setting<bool> unit_input_scales{"calibration.unit_input_scales"};
  Setting<Path> input_scales{"calibration.input_scales"};
};

/// Adapters that are merged first, and one that is made of what was lost.
struct Loras {
  Setting<std::vector<Path>> files{"loras.files"};
  Setting<Path> last_file{"loras.last_file"};                ///< merged after those
  Setting<std::string> strengths{"loras.strengths", "1.0"};  ///< one number, or a comma list
  Setting<bool> dampen{"loras.dampen", true};
  Setting<Path> map{"loras.map"};
  Setting<bool> allow_partial{"loras.allow_partial"};
  Setting<Path> merged_only{"loras.merged_only"};  ///< the merged model is written here, and nothing else

  Setting<bool> extract{"loras.extract"};
  Setting<Path> extracted{"loras.extracted"};  ///< empty: beside the output
  Setting<int64_t> rank{"loras.rank", 32};
  Setting<std::string> target{"loras.target"};
  Setting<int64_t> depth{"loras.depth", 1};
  Setting<double> aspect_threshold{"loras.aspect_threshold", 0};
  Setting<safetensors::Dtype> dtype{"loras.dtype", usual<safetensors::Dtype>("f32")};
};

/// Where it runs, and in how much memory.
struct Compute {
  Setting<std::string> device{"compute.device", "auto"};
  Setting<int64_t> threads{"compute.threads"};  ///< 0: all cores
  Setting<bool> low_memory{"compute.low_memory"};
  Setting<bool> no_memory_limits{"compute.no_memory_limits"};
  Setting<uint64_t> max_memory{"compute.max_memory"};  ///< bytes; 0: what is free
  Setting<std::string> streaming_mode{"compute.streaming_mode", "auto"};
  Setting<int64_t> stream_hadamard{"compute.stream_hadamard"};
  Setting<int64_t> stream_hessian{"compute.stream_hessian"};
  Setting<int64_t> stream_ldlq{"compute.stream_ldlq"};
  Setting<int64_t> stream_ortho{"compute.stream_ortho"};
  Setting<Bf16Word> bf16{"compute.bf16", Bf16Word::kAuto};
  Setting<int64_t> bf16_product{"compute.bf16_product", 1000000};
  Setting<int64_t> bf16_hadamard{"compute.bf16_hadamard", 500000};
  Setting<int64_t> bf16_hessian{"compute.bf16_hessian", 1000000};
};

/// What is found out and told, in place of a conversion and after one.
struct Report {
  Setting<bool> quality{"report.quality"};
  Setting<double> threshold_db{"report.threshold_db", 30};
  Setting<bool> threshold_fails{"report.threshold_fails"};  ///< a layer below it fails the run
  Setting<Path> quality_json{"report.quality_json"};
  Setting<std::vector<Path>> files{"report.files"};
  Setting<bool> strict{"report.strict"};
  Setting<DryRun> dry_run{"report.dry_run", DryRun::kNo};
  Setting<bool> json{"report.json"};
  Setting<Path> layer_template{"report.layer_template"};  ///< a dry run that writes one; may be empty
  Setting<bool> blocks{"report.blocks"};
  Setting<bool> errors{"report.errors"};
  Setting<bool> suggest{"report.suggest"};
  Setting<std::string> formats{"report.formats"};  ///< comma list
};

struct Settings {
  Input input;
  Output output;
  Target target;
  Layers layers;
  Goal goal;
  Rounding rounding;
  Learning learning;
  Calibration calibration;
  Loras loras;
  Compute compute;
  Report report;
};

/// Calls visit(setting) for every setting of `rounding` and `learning`. settings: const or not
template <typename S, typename Visit>
void for_each_of_rounding(S& settings, Visit&& visit) {
  auto& rounding = settings.rounding;
  auto& learning = settings.learning;
  (visit(rounding.optimizer), visit(rounding.quality), visit(rounding.simple), visit(rounding.scales),
   visit(rounding.damping), visit(rounding.sweeps), visit(rounding.seed), visit(rounding.seconds),
   visit(rounding.objective), visit(rounding.direct_damping), visit(rounding.gptq_actorder),
   visit(rounding.gptq_blocks), visit(rounding.gptq_gpu_kernel), visit(rounding.quip_actorder),
   visit(rounding.quip_hadamard), visit(rounding.quip_seed), visit(rounding.quip_transformed),
   visit(rounding.quip_scheme), visit(rounding.quip_per_row), visit(rounding.quip_segmented),
   visit(rounding.quip_segments_from), visit(rounding.quip_segments));
  (visit(learning.iterations), visit(learning.lr), visit(learning.use_speed), visit(learning.full_svd),
   visit(learning.top_p), visit(learning.min_k), visit(learning.max_k), visit(learning.schedule),
   visit(learning.gamma), visit(learning.patience), visit(learning.factor), visit(learning.lowest),
   visit(learning.cooldown), visit(learning.threshold), visit(learning.threshold_mode),
   visit(learning.stall_reset), visit(learning.shape_influence), visit(learning.stop_loss),
   visit(learning.stop_lr), visit(learning.stop_stall), visit(learning.solver), visit(learning.reg_lambda),
   visit(learning.beta_start), visit(learning.beta_end), visit(learning.least_gain),
   visit(learning.half_products), visit(learning.drawn_rows), visit(learning.drawn_at_once));
}

/// Calls visit(setting) for every setting of it. settings: const or not
template <typename S, typename Visit>
void for_each(S& settings, Visit&& visit) {
  auto& input = settings.input;
  auto& output = settings.output;
  auto& target = settings.target;
  auto& layers = settings.layers;
  auto& goal = settings.goal;
  auto& calibration = settings.calibration;
  auto& loras = settings.loras;
  auto& compute = settings.compute;
  auto& report = settings.report;
  (visit(input.path), visit(input.requantize), visit(input.names), visit(input.remove_ema));
  (visit(output.path), visit(output.no_clobber), visit(output.max_shard_bytes), visit(output.allow_empty),
   visit(output.resume), visit(output.partition), visit(output.comfy_layout),
   visit(output.full_precision_matrix_mult), visit(output.save_quant_metadata), visit(output.kept_type),
   visit(output.keep_type), visit(output.client));
  (visit(target.type), visit(target.format), visit(target.scaling), visit(target.block_size),
   visit(target.block_fallback), visit(target.convrot), visit(target.convrot_group),
   visit(target.dynamic_convrot), visit(target.linear_dtype), visit(target.logarithmic_scales),
   visit(target.shared_scales), visit(target.scaled_fp8_elements), visit(target.copied_input_scales));
  (visit(layers.presets), visit(layers.filter_set), visit(layers.by_family), visit(layers.exclude),
   visit(layers.heuristic), visit(layers.embeddings), visit(layers.convolutions), visit(layers.config),
   visit(layers.config_full_match), visit(layers.keep_containing), visit(layers.remove_containing),
   visit(layers.min_elements), visit(layers.min_side), visit(layers.custom), visit(layers.custom_type),
   visit(layers.custom_block_size), visit(layers.custom_scaling), visit(layers.custom_simple),
   visit(layers.custom_heuristic), visit(layers.custom_full_precision), visit(layers.custom_convrot),
   visit(layers.custom_convrot_group), visit(layers.fallback_type), visit(layers.fallback_block_size),
   visit(layers.fallback_simple));
  (visit(goal.max_error), visit(goal.target_bytes));
  for_each_of_rounding(settings, visit);
  (visit(calibration.data), visit(calibration.allow_random), visit(calibration.lora),
   visit(calibration.bias_correction), visit(calibration.smoothquant), visit(calibration.smoothquant_alpha),
   visit(calibration.static_activations), visit(calibration.unit_input_scales),
   visit(calibration.input_scales));
  (visit(loras.files), visit(loras.last_file), visit(loras.strengths), visit(loras.dampen), visit(loras.map),
   visit(loras.allow_partial), visit(loras.merged_only), visit(loras.extract), visit(loras.extracted),
   visit(loras.rank), visit(loras.target), visit(loras.depth), visit(loras.aspect_threshold),
   visit(loras.dtype));
  (visit(compute.device), visit(compute.threads), visit(compute.low_memory), visit(compute.no_memory_limits),
   visit(compute.max_memory), visit(compute.streaming_mode), visit(compute.stream_hadamard),
   visit(compute.stream_hessian), visit(compute.stream_ldlq), visit(compute.stream_ortho),
   visit(compute.bf16), visit(compute.bf16_product), visit(compute.bf16_hadamard),
   visit(compute.bf16_hessian));
  (visit(report.quality), visit(report.threshold_db), visit(report.threshold_fails),
   visit(report.quality_json), visit(report.files), visit(report.strict), visit(report.dry_run),
   visit(report.json), visit(report.layer_template), visit(report.blocks), visit(report.errors),
   visit(report.suggest), visit(report.formats));
}

}  // namespace ctq::engine
