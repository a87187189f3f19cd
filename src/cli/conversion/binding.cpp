#include "binding.h"

#include <algorithm>
#include <type_traits>

#include <fmt/format.h>

#include "cli/options/spelling.h"
#include "ctq/base/error.h"
#include "ctq/cli/option_table.h"
#include "ctq/families/preset.h"
#include "target_switches.h"

namespace ctq::cli {
namespace {

using engine::By;
using engine::Path;
using engine::Setting;

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {
  using Value = T;
};

template <typename T>
T value_of(const Arguments& arguments, std::string_view key) {
  const std::string& text = arguments.text(key);
  if constexpr (std::is_same_v<T, bool>) {
    return arguments.flag(key);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return arguments.integer(key);
  } else if constexpr (std::is_same_v<T, double>) {
    return arguments.number(key);
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return arguments.bytes(key);
  } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, Path>) {
    return text;
  } else if constexpr (std::is_same_v<T, std::vector<Path>>) {
    return {arguments.list(key).begin(), arguments.list(key).end()};
  } else if constexpr (std::is_same_v<T, const optimize::Optimizer*>) {
    return optimize::find_optimizer(text);
  } else if constexpr (IsOptional<T>::value) {
    if (text.empty()) return std::nullopt;
    return value_of<typename IsOptional<T>::Value>(arguments, key);
  } else {
    return engine::value_of<T>(text).value_or(T{});
  }
}

By by(const Arguments& arguments, std::string_view key) {
  return arguments.given(key) ? By::kUser : arguments.chosen(key) ? By::kRecipe : By::kDefault;
}

/// Takes over one option.
class Binder {
 public:
  explicit Binder(const Arguments& arguments) : arguments_(arguments) {}

  template <typename T>
  void operator()(Setting<T>& setting, std::string_view option) const {
    const std::string key = option_key(option);
    setting.set(value_of<T>(arguments_, key), by(arguments_, key), arguments_.text(key));
    setting.set_label(option);
  }

 private:
  const Arguments& arguments_;
};

void bind_lora_shape(const Binder& bind, engine::Loras& loras) {
  bind(loras.rank, "--lora-rank");
  bind(loras.target, "--lora-target");
  bind(loras.depth, "--lora-depth");
  bind(loras.aspect_threshold, "--lora-ar-threshold");
  bind(loras.dtype, "--lora-dtype");
}

/// Options that are one setting each. visit(setting, option)
template <typename Visit>
void for_each_option(engine::Settings& settings, const Visit& visit) {
  auto& [input, output, target, layers, goal, rounding, learning, calibration, loras, compute, report] =
      settings;
  visit(input.path, "--input");
  visit(input.requantize, "--requantize");
  visit(input.names, "--names");
  visit(input.remove_ema, "--remove-ema");

  visit(output.path, "--output");
  visit(output.no_clobber, "--no-clobber");
  visit(output.max_shard_bytes, "--max-shard-size");
  visit(output.allow_empty, "--allow-empty");
  visit(output.resume, "--resume");
  visit(output.partition, "--partition");
  visit(output.comfy_layout, "--comfy_quant");
  visit(output.full_precision_matrix_mult, "--full_precision_matrix_mult");
  visit(output.save_quant_metadata, "--save-quant-metadata");
  visit(output.client, "--client");

  visit(target.scaling, "--scaling_mode");
  visit(target.block_size, "--block_size");
  visit(target.block_fallback, "--block-fallback");
  visit(target.convrot, "--convrot");
  visit(target.convrot_group, "--convrot-group-size");
  visit(target.dynamic_convrot, "--dynamic-convrot");
  visit(target.linear_dtype, "--linear-dtype");

  visit(layers.filter_set, "--filter-set");
  visit(layers.exclude, "--exclude-layers");
  visit(layers.heuristic, "--heur");
  visit(layers.embeddings, "--quantize-embeddings");
  visit(layers.config, "--layer-config");
  visit(layers.config_full_match, "--fullmatch");
  visit(layers.custom, "--custom-layers");
  visit(layers.custom_type, "--custom-type");
  visit(layers.custom_block_size, "--custom-block-size");
  visit(layers.custom_scaling, "--custom-scaling-mode");
  visit(layers.custom_simple, "--custom-simple");
  visit(layers.custom_heuristic, "--custom-heur");
  visit(layers.custom_full_precision, "--custom-full-precision-mm");
  visit(layers.custom_convrot, "--custom-convrot");
  visit(layers.custom_convrot_group, "--custom-convrot-group-size");
  visit(layers.fallback_type, "--fallback");
  visit(layers.fallback_block_size, "--fallback-block-size");
  visit(layers.fallback_simple, "--fallback-simple");

  visit(goal.max_error, "--max-error");
  visit(goal.target_bytes, "--target-size");

  visit(rounding.optimizer, "--optimizer");
  visit(rounding.quality, "--quality");
  visit(rounding.simple, "--simple");
  visit(rounding.scales, "--scales");
  visit(rounding.sweeps, "--sweeps");
  visit(rounding.seed, "--manual_seed");
  visit(rounding.objective, "--objective");
  visit(rounding.direct_damping, "--direct-damping");
  visit(rounding.gptq_actorder, "--gptq-actorder");
  visit(rounding.gptq_blocks, "--gptq-fast");
  visit(rounding.gptq_gpu_kernel, "--gptq-turbo");
  visit(rounding.quip_actorder, "--quip-actorder");
  visit(rounding.quip_hadamard, "--quip-hadamard");
  visit(rounding.quip_seed, "--quip-seed");
  visit(rounding.quip_transformed, "--quip-store-transformed");
  visit(rounding.quip_scheme, "--quip-requant-scheme");
  visit(rounding.quip_per_row, "--quip-requant-tensor-per-row");
  visit(rounding.quip_segmented, "--quip-checkpointed");
  visit(rounding.quip_segments_from, "--quip-checkpoint-threshold");
  visit(rounding.quip_segments, "--quip-checkpoint-segments");

  visit(learning.iterations, "--num_iter");
  visit(learning.lr, "--lr");
  visit(learning.use_speed, "--use_speed");
  visit(learning.full_svd, "--full_matrix");
  visit(learning.top_p, "--top_p");
  visit(learning.min_k, "--min_k");
  visit(learning.max_k, "--max_k");
  visit(learning.schedule, "--lr_schedule");
  visit(learning.gamma, "--lr_gamma");
  visit(learning.patience, "--lr_patience");
  visit(learning.factor, "--lr_factor");
  visit(learning.lowest, "--lr_min");
  visit(learning.cooldown, "--lr_cooldown");
  visit(learning.threshold, "--lr_threshold");
  visit(learning.threshold_mode, "--lr-threshold-mode");
  visit(learning.stall_reset, "--lr_adaptive_mode");
  visit(learning.shape_influence, "--lr-shape-influence");
  visit(learning.stop_loss, "--early-stop-loss");
  visit(learning.stop_lr, "--early-stop-lr");
  visit(learning.stop_stall, "--early-stop-stall");

  visit(calibration.data, "--calibration-data");
  visit(calibration.lora, "--calibration-lora");
  visit(calibration.bias_correction, "--bias-correction");
  visit(calibration.smoothquant, "--smoothquant");
  visit(calibration.smoothquant_alpha, "--smoothquant-alpha");
  visit(calibration.static_activations, "--static-activations");
  visit(calibration.unit_input_scales, "--input_scale");
  visit(calibration.input_scales, "--input-scales");

  visit(loras.files, "--merge-loras");
  visit(loras.last_file, "--merge-lora");
  visit(loras.strengths, "--merge-lora-scale");
  visit(loras.dampen, "--merge-lora-dampen");
  visit(loras.map, "--lora-map");
  visit(loras.allow_partial, "--allow-partial-lora");
  visit(loras.merged_only, "--lora-only-to");
  visit(loras.extract, "--extract-lora");
  visit(loras.extracted, "--lora-output");

  visit(compute.device, "--device");
  visit(compute.threads, "--threads");
  visit(compute.low_memory, "--low-memory");
  visit(compute.no_memory_limits, "--no-memory-limits");
  visit(compute.max_memory, "--max-memory");
  visit(compute.streaming_mode, "--streaming-mode");
  visit(compute.stream_hadamard, "--stream-hadamard-threshold");
  visit(compute.stream_hessian, "--stream-hessian-threshold");
  visit(compute.stream_ldlq, "--stream-ldlq-threshold");
  visit(compute.stream_ortho, "--stream-ortho-threshold");
  visit(compute.bf16, "--bf16-compute");
  visit(compute.bf16_product, "--bf16-threshold");
  visit(compute.bf16_hadamard, "--bf16-hadamard-threshold");
  visit(compute.bf16_hessian, "--bf16-hessian-threshold");

  visit(report.quality, "--report-quality");
  visit(report.threshold_db, "--quality-threshold");
  visit(report.quality_json, "--quality-json");
  visit(report.files, "--report");
  visit(report.strict, "--strict");
  visit(report.dry_run, "--dry-run");
  visit(report.json, "--json");
  visit(report.layer_template, "--template");
  visit(report.blocks, "--blocks");
  visit(report.errors, "--error");
  visit(report.suggest, "--suggest");
  visit(report.formats, "--formats");
}

/// What belongs to a mode switch, which would have led to a command of its own.
void refuse_mode_options(const Arguments& arguments) {
  for (const Option& option : option_table()) {
    const bool of_a_mode = option.page == Page::kModes && option.available && option.kind != Kind::kSwitch;
    if (of_a_mode && arguments.given(option_key(option.name)))
      fail(ErrorCode::kUsage, "argument {}: goes with a mode switch such as --edit-quant (see -hm)",
           option.name);
  }
  if (arguments.flag("full_precision_mm"))
    fail(ErrorCode::kUsage, "argument --full-precision-mm: goes with --convert-fp8-scaled");
}

void bind_schedule(const Arguments& arguments, engine::Learning& learning) {
  // What that program calls adaptive is smooth.
  if (arguments.text("profile") == "peer" && *learning.schedule == optimize::Schedule::kAdaptive)
    learning.schedule.set(optimize::Schedule::kAdaptiveCosine, by(arguments, "lr_schedule"), "adaptive");
}

/// Old ways to say --streaming-mode.
void bind_streaming(const Arguments& arguments, engine::Compute& compute,
                    std::vector<std::string>& warnings) {
  for (const auto& [option, mode] :
       {std::pair{"--streaming-aggressive", "aggressive"}, std::pair{"--streaming", "balanced"}}) {
    if (!arguments.flag(option_key(option))) continue;
    warnings.push_back(fmt::format("{} is an old spelling; write --streaming-mode {}", option, mode));
    compute.streaming_mode = mode;
    return;
  }
}

}  // namespace

void bind_extraction(const Arguments& arguments, engine::Loras& loras) {
  bind_lora_shape(Binder(arguments), loras);
}

void bind_some(const Arguments& arguments, const std::vector<std::string_view>& options,
               engine::Settings& settings) {
  const Binder bind(arguments);
  for_each_option(settings, [&](auto& setting, std::string_view option) {
    if (std::ranges::count(options, option) > 0) bind(setting, option);
  });
}

BoundOptions bind(const Arguments& arguments) {
  BoundOptions bound;
  engine::Settings& settings = bound.settings;
  refuse_mode_options(arguments);
  for_each_option(settings, Binder(arguments));
  bind_lora_shape(Binder(arguments), settings.loras);
  if (arguments.text("block_fallback") == "pad")
    fail(
        ErrorCode::kUsage,
        "argument --block-fallback: no reader of the block formats of this version knows partial blocks; use "
        "row, skip or error (got 'pad')");
  bind_target(arguments, settings.target);
  std::vector<std::string> presets;
  for (const families::Preset* preset : families::presets()) {
    if (arguments.flag(preset->name)) presets.emplace_back(preset->name);
  }
  settings.layers.presets.set(std::move(presets));
  settings.layers.by_family.set(arguments.given("recipe"));
  bind_schedule(arguments, settings.learning);
  bind_streaming(arguments, settings.compute, bound.warnings);
  settings.rounding.seconds.set_label("--time");
  if (!arguments.text("time").empty())
    settings.rounding.seconds.set(arguments.seconds("time"), by(arguments, "time"), arguments.text("time"));
  if (arguments.flag("calib_cpu"))
    bound.notes.emplace_back("--calib_cpu has no effect: rows are drawn from the seed when they are needed");
  return bound;
}

}  // namespace ctq::cli
