#include "plan/plan.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "families/parts.h"
#include "format/bank.h"
#include "format/log_scale.h"
#include "layout_choice.h"
#include "model/layer_names.h"
#include "model/metadata.h"
#include "model/weight_shape.h"
#include "refusal.h"
#include "router.h"
#include "safetensors/writer.h"
#include "shards.h"

namespace ctq::plan {
namespace {

/// What the file will hold in place of a tensor; markers come apart, as Generated.
std::vector<safetensors::TensorInfo> outputs_of(const TensorPlan& plan, format::Layout layout) {
  const safetensors::TensorInfo& source = *plan.source->info;
  auto output = [](std::string name, safetensors::Dtype dtype, std::vector<int64_t> shape) {
    safetensors::TensorInfo info;
    info.name = std::move(name), info.dtype = dtype, info.shape = std::move(shape);
    return info;
  };
  switch (plan.decision) {
    case Decision::kRemove: return {};
    case Decision::kKeep: return {output(source.name, source.dtype, source.shape)};
    case Decision::kCast: return {output(source.name, plan.target.plain, source.shape)};
    case Decision::kQuantize: break;
  }
  std::vector<safetensors::TensorInfo> outputs;
  const std::string layer(plan.source->layer());
  const model::WeightShape shape = model::weight_shape(*plan.source);
  for (const format::StoredTensor& stored :
       format::stored_tensors_of_bank(*plan.target.codec, shape.experts, shape.out_features,
                                      shape.in_features, plan.target.block_size)) {
    outputs.push_back(output(format::side_name(layer, stored.role, layout),
                             model::container_dtype(stored.dtype), stored.shape));
  }
  if (plan.scales_input)
    outputs.push_back(output(format::side_name(layer, "pre_quant_scale", layout), safetensors::Dtype::kBF16,
                             {source.shape[1]}));
  if (plan.copies_scale)
    outputs.push_back(output(format::side_name(layer, "input_scale", layout), safetensors::Dtype::kF32, {}));
  return outputs;
}

/// Whether a quantized layer stands under the prefix of its model. ComfyUI takes the prefix off the tensors
/// but not off the names in the header, or puts the markers of the header on twice: no spelling of them suits
/// all its loaders.
bool under_prefix(const TensorPlan& tensor) {
  return tensor.decision == Decision::kQuantize && !model::checkpoint_prefix(tensor.source->layer()).empty();
}

safetensors::Metadata metadata_of(const model::Checkpoint& checkpoint, Plan& plan, const Options& options) {
  safetensors::Metadata metadata = model::without_content_hashes(checkpoint.metadata());
  metadata.emplace("format", "pt");
  if (std::ranges::any_of(plan.tensors, has_log_scale))
    metadata.insert_or_assign(std::string(format::kLogScaleKey), std::string(format::kLogScaleText));
  if (!options.save_quant_metadata) return metadata;
  if (plan.layout == format::Layout::kComfy && std::ranges::any_of(plan.tensors, under_prefix)) {
    plan.notes.push_back(
        "the header does not repeat the markers: ComfyUI's loaders disagree about names with a prefix there");
    return metadata;
  }
  std::map<std::string, std::string> markers;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    markers[std::string(tensor.source->layer())] = marker_of(tensor, options);
  }
  metadata["_quantization_metadata"] = format::quantization_metadata_json(markers);
  return metadata;
}

/// A second copy of the weights that is left out.
TensorPlan without_ema(const model::Checkpoint::Entry& entry) {
  TensorPlan plan;
  plan.source = &entry;
  plan.decision = Decision::kRemove;
  plan.reason = "an average of the weights (--remove-ema)";
  return plan;
}

/// Readers of the legacy layout look whether a text encoder has input scales.
bool is_text_encoder(const std::vector<std::string>& presets) {
  return std::ranges::any_of(presets, [](const std::string& name) {
    const families::Preset* preset = families::find_preset(name);
    return preset && preset->text_encoder;
  });
}

bool has_one_scale(const TensorPlan& tensor) {
  return tensor.target.codec->granularity == format::Granularity::kTensor;
}

/// Of the files that hold the tensors, headers included.
uint64_t file_bytes(const model::Checkpoint& checkpoint) {
  std::set<const safetensors::Reader*> files;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) files.insert(entry.file);
  uint64_t bytes = 0;
  for (const safetensors::Reader* file : files) bytes += file->file_bytes();
  return bytes;
}

/// What becomes of the averages that training kept beside the weights; empty where there are none, or nothing
/// else.
std::string ema_words(const Plan& plan, const Options& options) {
  const auto is_ema = [](const TensorPlan& tensor) { return model::is_ema_name(tensor.source->name()); };
  const auto count = std::ranges::count_if(plan.tensors, is_ema);
  if (count == 0)
    return options.remove_ema
               ? "--remove-ema has no effect: no tensor's name begins with model_ema. or the like"
               : "";
  if (static_cast<size_t>(count) == plan.tensors.size()) return "";
  uint64_t bytes = 0;
  std::string_view example;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!is_ema(tensor)) continue;
    bytes += tensor.bytes_in();
    example = tensor.source->name();
  }
  const std::string_view prefix = example.substr(0, example.find('.') + 1);
  return fmt::format(
      "{} tensors {}* ({}) are averages that training kept beside the weights; {}", count, prefix,
      human_bytes(bytes),
      options.remove_ema ? "they are left out" : "they are kept (--remove-ema leaves them out)");
}

/// One line per format that stock ComfyUI does not load, and one about a legacy file without any mark.
void add_loader_notes(Plan& plan) {
  std::set<const format::Codec*> codecs;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision == Decision::kQuantize) codecs.insert(tensor.target.codec);
  }
  for (const format::Codec* codec : codecs) {  // in the registry's order
    if (client::is_stock(*codec) || codec == &format::log_scale_codec()) continue;
    const client::OtherReader reader = client::other_reader(codec->format);
    plan.notes.push_back(
        fmt::format("{} is not loaded by stock ComfyUI (it is read by {}); --format {} gives a file that is",
                    codec->label(), reader.name, reader.instead));
  }
  const bool int8 = std::ranges::any_of(codecs, [](auto* codec) { return codec->type == "int8"; });
  if (codecs.empty()) return;
  if (plan.layout == format::Layout::kLegacy && int8) {
    plan.notes.push_back(
        "the legacy layout has no mark for INT8: stock ComfyUI takes the codes for plain numbers; "
        "--comfy_quant writes what it loads");
  } else if (plan.layout == format::Layout::kLegacy) {
    plan.notes.push_back("legacy scaled_fp8 layout; --comfy_quant writes the layout of current ComfyUI");
  }
}

/// The client that was asked for, or the one that the first format implies which ComfyUI lacks.
client::Client reader_of(const Plan& plan, const Options& options) {
  if (options.client) return *options.client;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    if (const auto implied = client::implied_by(tensor.target.codec->format)) return *implied;
  }
  return {};
}

/// Which families' presets are used, or could be.
void add_family_notes(Plan& plan, const families::Parts& parts, const Options& options) {
  for (const std::string& name : options.presets) {
    const families::Preset* preset = families::find_preset(name);
    if (preset && preset->text_encoder && !preset->has_patterns() && plan.layout == format::Layout::kComfy)
      plan.notes.push_back(fmt::format("preset --{} has no effect: it is about the legacy layout", name));
  }
  if (parts.adapter()) return;
  if (options.by_family) {
    std::set<std::string_view> used;
    for (const families::Part& part : parts.all()) {
      if (!part.family || !part.family->preset || !used.insert(part.family->preset->name).second) continue;
      plan.notes.push_back(
          fmt::format("the tensor names are those of --{}, which is used", part.family->preset->name));
    }
  }
  const families::Part* main = parts.main();
  if (!main || !main->family->preset || options.by_family) return;
  const std::string preset(main->family->preset->name);
  if (std::ranges::count(options.presets, preset) == 0) plan.suggested_preset = preset;
}

/// Whether presets say the same of all tensors in every variant of their lists.
bool filter_sets_agree(const Options& options, std::span<const std::string> names) {
  families::ActivePresets chosen(options.presets, options.filter_set, names),
      seed(options.presets, families::FilterSet::kSeed, names);
  return std::ranges::all_of(names, [&](const std::string& name) {
    return chosen.protects(name).has_value() == seed.protects(name).has_value() &&
           chosen.removes(name).has_value() == seed.removes(name).has_value();
  });
}

}  // namespace

std::string_view decision_name(Decision decision) {
  switch (decision) {
    case Decision::kQuantize: return "quantize";
    case Decision::kCast: return "cast";
    case Decision::kKeep: return "keep";
    case Decision::kRemove: return "remove";
  }
  return "";
}

std::optional<double> InputScales::of(std::string_view layer, const format::Codec& codec) const {
  if (!codec.reads_input_scale) return std::nullopt;
  if (const auto given = scales.find(layer); given != scales.end()) return given->second;
  if (const auto magnitude = magnitudes.find(layer); magnitude != magnitudes.end() && magnitude->second > 0)
    return magnitude->second / format::largest_input(codec);
  return one_for_all ? std::optional(1.0) : std::nullopt;
}

uint64_t TensorPlan::bytes_out() const {
  uint64_t bytes = 0;
  for (const safetensors::TensorInfo& output : outputs)
    bytes += safetensors::tensor_bytes(output.dtype, output.shape).value_or(0);
  return bytes;
}

size_t Plan::count(Decision decision) const {
  return static_cast<size_t>(std::ranges::count(tensors, decision, &TensorPlan::decision));
}

const TensorPlan* Plan::find(std::string_view name) const {
  const auto at = std::ranges::lower_bound(
      tensors, name, {}, [](const TensorPlan& tensor) -> std::string_view { return tensor.source->name(); });
  return at != tensors.end() && at->source->name() == name ? &*at : nullptr;
}

bool Plan::quantizes(std::string_view layer) const {
  const TensorPlan* weight = find(fmt::format("{}.weight", layer));
  return weight && weight->decision == Decision::kQuantize;
}

Plan make_plan(const model::Checkpoint& checkpoint, const Options& options, const std::string& output_name,
               const ValueFindings& findings) {
  refuse_quantized(checkpoint, "start from the original, unquantized file, or add --requantize");
  const std::vector<std::string> names = checkpoint.names();
  const families::Parts parts(names,
                              [&](std::string_view tensor) { return checkpoint.find(tensor)->info->shape; });
  Router router(options, findings, names, parts);

  Plan plan;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    const bool removed = options.remove_ema && model::is_ema_name(entry.name());
    plan.tensors.push_back(removed ? without_ema(entry) : router.route(entry));
  }
  plan.bytes_in = file_bytes(checkpoint);
  const size_t changed = plan.count(Decision::kQuantize) + plan.count(Decision::kCast);
  if (changed == 0 && !options.allow_empty) {
    const std::vector<std::string> misread = router.misread();
    if (!misread.empty())
      fail(ErrorCode::kFailure,
           "{}: nothing to quantize: {}; keep the file as it is or make it smaller with --fp16; --client any "
           "writes "
           "it all the same",
           checkpoint.path(), misread.front());
    fail(ErrorCode::kFailure,
         "{}: nothing to quantize: none of {} tensors is a 2-D weight that the filters leave; see --dry-run, "
         "or add --allow-empty to copy the file",
         checkpoint.path(), plan.tensors.size());
  }
  plan.reader = reader_of(plan, options);
  plan.unused = router.unused();
  plan.notes = router.notes();
  plan.warnings = router.warnings();
  choose_layout(plan, options);
  const bool copies = options.copy_weight_scales || is_text_encoder(options.presets);
  for (TensorPlan& tensor : plan.tensors) {
    tensor.copies_scale = copies && multiplies(tensor) && has_one_scale(tensor) &&
                          plan.layout == format::Layout::kLegacy &&
                          !options.input_scales.of(tensor.source->layer(), *tensor.target.codec);
    tensor.scales_input = multiplies(tensor) && options.input_factors.contains(tensor.source->layer());
    tensor.outputs = outputs_of(tensor, plan.layout);
  }
  add_markers(plan, options);
  add_input_scales(plan, options);
  plan.metadata = metadata_of(checkpoint, plan, options);
  if (std::string words = model::left_out_words(checkpoint.metadata()); !words.empty())
    plan.notes.push_back(std::move(words));
  if (std::string words = ema_words(plan, options); !words.empty()) plan.notes.push_back(std::move(words));
  if (options.filter_set != families::FilterSet::kSeed && !options.presets.empty() &&
      filter_sets_agree(options, names))
    plan.notes.push_back("--filter-set has no effect: the presets' lists say the same of this model");
  add_loader_notes(plan);
  add_family_notes(plan, parts, options);
  plan.files = lay_out_files(plan, output_name, options.max_shard_bytes);
  for (const OutputFile& file : plan.files) plan.bytes_out += file.bytes;
  return plan;
}

}  // namespace ctq::plan
