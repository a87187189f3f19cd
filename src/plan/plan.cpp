#include "ctq/plan/plan.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "ctq/base/error.h"
#include "ctq/base/text.h"
#include "ctq/format/log_scale.h"
#include "ctq/safetensors/writer.h"
#include "layout_choice.h"
#include "refusal.h"
#include "router.h"
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
    case Decision::kCast: return {output(source.name, safetensors::Dtype::kF16, source.shape)};
    case Decision::kQuantize: break;
  }
  std::vector<safetensors::TensorInfo> outputs;
  const std::string layer(plan.source->layer());
  for (const format::StoredTensor& stored :
       format::stored_tensors(*plan.target.codec, source.shape[0], source.shape[1], plan.target.block_size)) {
    outputs.push_back(output(format::side_name(layer, stored.role, layout),
                             model::container_dtype(stored.dtype), stored.shape));
  }
  if (plan.copies_scale)
    outputs.push_back(output(format::side_name(layer, "input_scale", layout), safetensors::Dtype::kF32, {}));
  return outputs;
}

safetensors::Metadata metadata_of(const model::Checkpoint& checkpoint, const Plan& plan,
                                  const Options& options) {
  safetensors::Metadata metadata = checkpoint.metadata();
  metadata.emplace("format", "pt");
  if (std::ranges::any_of(plan.tensors, has_log_scale))
    metadata.insert_or_assign(std::string(format::kLogScaleKey), std::string(format::kLogScaleText));
  if (!options.save_quant_metadata) return metadata;
  std::map<std::string, std::string> markers;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision != Decision::kQuantize) continue;
    markers[std::string(tensor.source->layer())] =
        format::marker_json(*tensor.target.codec, tensor.target.block_size, marker_options(tensor, options));
  }
  metadata["_quantization_metadata"] = format::quantization_metadata_json(markers);
  return metadata;
}

/// One line per format that stock ComfyUI does not load, and one about a legacy file without any mark.
void add_loader_notes(Plan& plan) {
  std::set<const format::Codec*> codecs;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.decision == Decision::kQuantize) codecs.insert(tensor.target.codec);
  }
  for (const format::Codec& codec : format::registry()) {
    if (!codecs.contains(&codec) || codec.stock) continue;
    plan.notes.push_back(
        fmt::format("{} is not loaded by stock ComfyUI (it is read by {}); {} gives a file that is",
                    codec.label(), codec.reader, codec.stock_equivalent));
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
  if (const auto largest = largest_inputs.find(layer); largest != largest_inputs.end() && largest->second > 0)
    return largest->second / format::largest_input(codec);
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

Plan make_plan(const model::Checkpoint& checkpoint, const Options& asked, const std::string& output_name,
               const ValueFindings& findings) {
  refuse_quantized(checkpoint, "start from the original, unquantized file, or add --requantize");
  const std::vector<std::string> names = checkpoint.names();
  const std::string_view recognised = recognise_preset(names);
  Options options = asked;
  const bool use_recognised = asked.use_recognised_preset && !recognised.empty();
  if (use_recognised) options.presets.emplace_back(recognised);
  Router router(options, findings, names);

  Plan plan;
  for (const model::Checkpoint::Entry& entry : checkpoint.entries()) {
    plan.tensors.push_back(router.route(entry));
    plan.bytes_in += entry.info->bytes();
  }
  const size_t changed = plan.count(Decision::kQuantize) + plan.count(Decision::kCast);
  if (changed == 0 && !options.allow_empty) {
    fail(ErrorCode::kFailure,
         "{}: nothing to quantize: none of {} tensors is a 2-D weight that the filters leave; see --dry-run, "
         "or "
         "add --allow-empty to copy the file",
         checkpoint.path(), plan.tensors.size());
  }
  plan.unused = router.unused();
  plan.notes = router.notes();
  choose_layout(plan, options);
  for (TensorPlan& tensor : plan.tensors) {
    tensor.copies_scale = options.copy_weight_scales && tensor.decision == Decision::kQuantize &&
                          plan.layout == format::Layout::kLegacy &&
                          !options.input_scales.of(tensor.source->layer(), *tensor.target.codec);
    tensor.outputs = outputs_of(tensor, plan.layout);
  }
  add_markers(plan, options);
  add_input_scales(plan, options);
  plan.metadata = metadata_of(checkpoint, plan, options);
  add_loader_notes(plan);
  if (use_recognised)
    plan.notes.push_back(fmt::format("the tensor names are those of --{}, which is used", recognised));
  if (!recognised.empty() && std::ranges::count(options.presets, recognised) == 0)
    plan.suggested_preset = recognised;
  plan.files = lay_out_files(plan, output_name, options.max_shard_bytes);
  for (const OutputFile& file : plan.files) plan.bytes_out += file.bytes;
  return plan;
}

}  // namespace ctq::plan
