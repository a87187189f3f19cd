#include "report/plan_report.h"
#include "client/client.h"

#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "csv.h"

namespace ctq::report {
namespace {

using nlohmann::ordered_json;
using plan::Decision;
using plan::TensorPlan;

const safetensors::TensorInfo* scale_of(const TensorPlan& tensor) {
  return tensor.decision == Decision::kQuantize && tensor.outputs.size() > 1 ? &tensor.outputs[1] : nullptr;
}

std::string format_of(const TensorPlan& tensor) {
  const bool changed = tensor.decision == Decision::kQuantize || tensor.decision == Decision::kCast;
  return changed ? tensor.target.label() : std::string(safetensors::dtype_name(tensor.source->info->dtype));
}

std::string tensor_row(const TensorPlan& tensor, const pipeline::LayerMethods& methods) {
  const safetensors::TensorInfo* scale = scale_of(tensor);
  const std::string optimizer =
      tensor.decision == Decision::kQuantize ? ", " + methods.choice(tensor).label() : "";
  return fmt::format("{:<9} {:<60} {:<16} {:<5} -> {:<32} {:<12} {:>12} -> {:<12} {}{}\n",
                     plan::decision_name(tensor.decision), printable(tensor.source->name(), 60),
                     shape_text(tensor.source->info->shape),
                     safetensors::dtype_name(tensor.source->info->dtype), format_of(tensor),
                     scale ? shape_text(scale->shape) : "-", tensor.bytes_in(), tensor.bytes_out(),
                     tensor.reason, optimizer);
}

struct FormatTotal {
  size_t tensors = 0;
  uint64_t bytes_in = 0, bytes_out = 0;
};

std::map<std::string, FormatTotal> totals_by_format(const plan::Plan& plan) {
  std::map<std::string, FormatTotal> totals;
  for (const TensorPlan& tensor : plan.tensors) {
    const std::string key = tensor.decision == Decision::kKeep     ? "kept"
                            : tensor.decision == Decision::kRemove ? "removed"
                                                                   : tensor.target.label();
    FormatTotal& total = totals[key];
    ++total.tensors;
    total.bytes_in += tensor.bytes_in();
    total.bytes_out += tensor.bytes_out();
  }
  return totals;
}

ordered_json tensor_json(const TensorPlan& tensor, const pipeline::LayerMethods& methods) {
  const safetensors::TensorInfo& info = *tensor.source->info;
  ordered_json json = {{"name", info.name},
                       {"shape", info.shape},
                       {"dtype", safetensors::dtype_name(info.dtype)},
                       {"decision", plan::decision_name(tensor.decision)},
                       {"reason", tensor.reason}};
  if (tensor.decision == Decision::kQuantize) {
    json["format"] = tensor.target.codec->format;
    json["scaling_mode"] = format::granularity_name(tensor.target.codec->granularity);
    if (tensor.target.block_size > 0) json["block_size"] = tensor.target.block_size;
    json["stock"] = client::is_stock(*tensor.target.codec);
    json["optimizer"] = methods.choice(tensor).label();
  } else if (tensor.decision == Decision::kCast) {
    json["format"] = tensor.target.label();
  }
  if (const safetensors::TensorInfo* scale = scale_of(tensor)) json["scale_shape"] = scale->shape;
  json["bytes_in"] = tensor.bytes_in();
  json["bytes_out"] = tensor.bytes_out();
  return json;
}

/// Invalid UTF-8 cannot occur in names (the header is checked), but reasons may quote other files.
std::string dump(const ordered_json& json) {
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string plan_table(const plan::Plan& plan, const PlanNames& names,
                       const pipeline::LayerMethods& methods) {
  std::string text = fmt::format("Plan: {} -> {} ({} layout), nothing is written\n", names.input,
                                 names.output, plan.layout == format::Layout::kComfy ? "comfy" : "legacy");
  size_t other = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.source->is_matrix() || tensor.candidate) {
      text += tensor_row(tensor, methods);
    } else if (tensor.decision == Decision::kRemove) {
      text += tensor_row(tensor, methods);
    } else {
      ++other;
    }
  }
  if (other > 0) text += fmt::format("{:<9} {} tensors that are not 2-D weights, unchanged\n", "keep", other);
  text += "\nTotals:\n";
  for (const auto& [format, total] : totals_by_format(plan)) {
    text += fmt::format("  {:<34} {:>6} tensors  {:>10} -> {}\n", format, total.tensors,
                        human_bytes(total.bytes_in), human_bytes(total.bytes_out));
  }
  if (const std::string chosen = methods.summary(plan); !chosen.empty())
    text += fmt::format("  {}\n", chosen);
  text += fmt::format("  output size: {} bytes ({}) in {} file{}, for {}\n", plan.bytes_out,
                      human_bytes(plan.bytes_out), plan.files.size(), plan.files.size() == 1 ? "" : "s",
                      plan.reader.name());
  return text;
}

std::string plan_json(const plan::Plan& plan, const PlanNames& names, const pipeline::LayerMethods& methods) {
  ordered_json json = {{"input", names.input},
                       {"fingerprint", names.fingerprint},
                       {"output", names.output},
                       {"client", plan.reader.word()},
                       {"layout", plan.layout == format::Layout::kComfy ? "comfy" : "legacy"},
                       {"tensors", ordered_json::array()},
                       {"files", ordered_json::array()},
                       {"totals", ordered_json::object()},
                       {"notes", plan.notes},
                       {"unused", plan.unused},
                       {"suggested_preset", plan.suggested_preset}};
  for (const TensorPlan& tensor : plan.tensors) {
    ordered_json& row = json["tensors"].emplace_back(tensor_json(tensor, methods));
    if (names.merged && names.merged->contains(tensor.source->name()))
      row["lora"] = names.merged->at(tensor.source->name());
  }
  for (const plan::OutputFile& file : plan.files) {
    json["files"].push_back({{"name", file.name}, {"tensors", file.tensors.size()}, {"bytes", file.bytes}});
  }
  for (const Decision decision : {Decision::kQuantize, Decision::kCast, Decision::kKeep, Decision::kRemove}) {
    json["totals"][std::string(plan::decision_name(decision))] = plan.count(decision);
  }
  json["totals"]["bytes_in"] = plan.bytes_in;
  json["totals"]["bytes_out"] = plan.bytes_out;
  return dump(json);
}

std::string plan_csv(const plan::Plan& plan, const PlanNames& names, const pipeline::LayerMethods& methods) {
  std::string text = "name,decision,reason,format,optimizer,dtype,shape,bytes_in,bytes_out,lora\r\n";
  for (const TensorPlan& tensor : plan.tensors) {
    const safetensors::TensorInfo& info = *tensor.source->info;
    const bool changed = tensor.decision == Decision::kQuantize || tensor.decision == Decision::kCast;
    const bool merged = names.merged && names.merged->contains(info.name);
    text += fmt::format(
        "{},{},{},{},{},{},{},{},{},{}\r\n", csv_field(info.name), plan::decision_name(tensor.decision),
        csv_field(tensor.reason), changed ? csv_field(tensor.target.label()) : "",
        tensor.decision == Decision::kQuantize ? csv_field(methods.choice(tensor).label()) : "",
        safetensors::dtype_name(info.dtype), fmt::join(info.shape, "x"), tensor.bytes_in(),
        tensor.bytes_out(),
        merged ? csv_field(fmt::format("{}", fmt::join(names.merged->at(info.name), "; "))) : "");
  }
  return text;
}

}  // namespace ctq::report
