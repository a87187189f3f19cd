#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ctq/base/text.h"
#include "ctq/quantized/decode.h"
#include "ctq/quantized/scale_tiles.h"
#include "ctq/verify/client.h"
#include "format_rules.h"
#include "stable_diffusion_cpp.h"

namespace ctq::verify {
namespace {

using quantized::Dialect;
using quantized::Layer;
using quantized::QuantizedFile;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

std::string_view dtype_of(const Entry& entry) { return safetensors::dtype_name(entry.info->dtype); }
std::string shape_of(const Entry& entry) { return shape_text(entry.info->shape); }

std::string shapes_text(const std::vector<Shape>& shapes) {
  std::vector<std::string> texts;
  for (const Shape& shape : shapes) texts.push_back(shape_text(shape));
  return fmt::format("{}", fmt::join(texts, " or "));
}

/// Whether `name` holds `stem` followed by a number and a dot.
bool has_numbered(std::string_view name, std::string_view stem) {
  for (size_t at = name.find(stem); at != std::string_view::npos; at = name.find(stem, at + 1)) {
    size_t digit = at + stem.size();
    const size_t first = digit;
    while (digit < name.size() && std::isdigit(static_cast<unsigned char>(name[digit]))) ++digit;
    if (digit > first && digit < name.size() && name[digit] == '.') return true;
  }
  return false;
}

bool is_clip_text_encoder(std::string_view layer) {
  return has_numbered(layer, "transformer.resblocks.") || has_numbered(layer, "text_model.encoder.layers.");
}

/// The rules for one layer of ComfyUI, with or without custom nodes, and of nobody in particular.
class LayerCheck {
 public:
  LayerCheck(const Layer& layer, Client client, std::vector<int64_t> shape, std::vector<Finding>& findings)
      : layer_(layer), client_(client), shape_(std::move(shape)), findings_(findings) {}

  void run() {
    if (layer_.dialect == Dialect::kRaw) return;
    if (!layer_.marker_fault.empty()) return refuse("{}", layer_.marker_fault);
    if (layer_.marker_differs)
      remark("the header's marker and comfy_quant differ; ComfyUI follows the header");
    if (layer_.dialect == Dialect::kHeader)
      remark("only in the header: older ComfyUI and other programs need the tensor comfy_quant");
    if (!layer_.weight) return refuse("the file has no such weight");
    switch (layer_.dialect) {
      case Dialect::kLogScales: return check_log_scales();
      case Dialect::kScaledFp8: return check_scaled_fp8();
      case Dialect::kUnmarked: check_unmarked(); break;
      default: break;
    }
    if (const FormatRule* rule = named_format()) check_format(*rule);
  }

 private:
  template <typename... Args>
  void refuse(fmt::format_string<Args...> text, Args&&... args) {
    findings_.push_back({layer_.name, fmt::format(text, std::forward<Args>(args)...), true});
  }
  template <typename... Args>
  void remark(fmt::format_string<Args...> text, Args&&... args) {
    findings_.push_back({layer_.name, fmt::format(text, std::forward<Args>(args)...), false});
  }

  bool stock() const { return client_ == Client::kComfyUi; }

  void check_log_scales() {
    const Entry* scale = layer_.side("scale_weight");
    if (scale && (scale->info->dtype != Dtype::kU8 || scale->info->bytes() != 1))
      refuse("scale_weight is {} {}, not one U8 code", dtype_of(*scale), shape_of(*scale));
  }

  void check_unmarked() {
    const std::string role = layer_.side("scale_weight") ? "scale_weight" : "weight_scale";
    if (layer_.format.empty()) {
      refuse("{} {} covers no even part of the weight {}", role, shape_of(*layer_.scale()),
             shape_of(*layer_.weight));
    } else if (stock()) {
      refuse("{} without comfy_quant or scaled_fp8: ComfyUI ignores the scale", role);
    } else {
      remark("a scale without a marker: only QuantOps guesses what it means");
    }
  }

  void check_scaled_fp8() {
    const Dtype dtype = layer_.weight->info->dtype;
    const size_t rank = layer_.weight->info->shape.size();
    if (dtype == Dtype::kF8E5M2) {
      refuse("scaled_fp8 is always read as e4m3fn: the e5m2 weight is cast and loses most of its range");
    } else if (dtype != Dtype::kF8E4M3 && rank == 2) {
      refuse("scale_weight beside a kept {} weight: ComfyUI casts the weight to fp8",
             dtype_of(*layer_.weight));
    }
    if (rank != 2) remark("a {}-D weight with scale_weight, which its module ignores", rank);
    for (const char* role : {"scale_weight", "scale_input"}) {
      const Entry* scale = layer_.side(role);
      if (!scale) continue;
      if (scale->info->numel() != 1) refuse("{} has {} elements instead of one", role, scale->info->numel());
      if (!safetensors::is_float(scale->info->dtype))
        refuse("{} is {}: ComfyUI uses the number as it stands", role, dtype_of(*scale));
    }
    const Entry *scale = layer_.side("scale_weight"), *input = layer_.side("scale_input");
    if (scale && input && quantized::text_of(*scale) == quantized::text_of(*input))
      remark("scale_input is a copy of scale_weight: as an activation scale it would saturate");
  }

  /// The rule of the layer's format, or null with a finding that says why there is none to check.
  const FormatRule* named_format() {
    if (layer_.format.empty()) {
      if (layer_.dialect == Dialect::kUnmarked) return nullptr;
      const bool int8 = layer_.weight->info->dtype == Dtype::kI8 && layer_.side("weight_scale");
      if (stock() || !int8) {
        refuse("the marker has no \"format\": ComfyUI knows no such quantization");
        return nullptr;
      }
      remark("the marker has no \"format\", as INT8-Fast writes it; stock ComfyUI refuses it");
      return find_format_rule("int8_tensorwise");
    }
    const FormatRule* rule = find_format_rule(layer_.format);
    if (!rule) {
      refuse("format '{}' is not known to any program", printable(layer_.format));
    } else if (stock() && !rule->node.empty() && layer_.dialect != Dialect::kUnmarked) {
      refuse("format {}: KeyError in stock ComfyUI; it is read by {}", layer_.format, rule->node);
    }
    return rule;
  }

  void check_format(const FormatRule& rule) {
    const bool quip = layer_.is_quip();
    if (quip && stock() && rule.node.empty())
      refuse("transformed by QuIP under the stock name {}: ComfyUI does not undo it", rule.format);
    if (stock() && is_clip_text_encoder(layer_.name))
      refuse("CLIP-L and CLIP-G text encoders read no comfy_quant: the scale would be ignored");
    if (shape_.size() == 3) return remark("3-D: read only where the model holds a bank of experts");
    if (shape_.size() != 2) {
      findings_.push_back(
          {layer_.name,
           fmt::format("{}-D: only linear layers, expert banks and embeddings read a marker", shape_.size()),
           stock()});
      return;
    }
    if (layer_.name.find("embed") != std::string::npos && rule.format != "float8_e4m3fn" &&
        rule.format != "float8_e5m2" && rule.format != "int8_tensorwise")
      remark("if this is an embedding table, ComfyUI does not read {} for it", rule.format);
    if (layer_.weight->info->dtype != rule.codes) {
      refuse("the weight is {}, {} stores {}: it is converted as a number, not as bits",
             dtype_of(*layer_.weight), rule.format, safetensors::dtype_name(rule.codes));
    }
    Dims dims{shape_[0], shape_[1], 0};
    if (rule.usual_group > 0 && !read_group(rule, dims)) return;
    if (quip) check_quip(dims);
    const std::vector<Shape> stored = rule.stored(dims);
    if (std::ranges::count(stored, layer_.weight->info->shape) == 0)
      refuse("the weight is {}, a layer of {} needs {}", shape_of(*layer_.weight), shape_text(shape_),
             shapes_text(stored));
    for (const SideRule& side : side_rules(rule.format)) check_side(side, dims);
    check_rotation(rule, dims);
    check_leftovers(rule);
  }

  bool read_group(const FormatRule& rule, Dims& dims) {
    const auto group = layer_.marker.integer("group_size", rule.usual_group);
    if (!group || *group < 1 || dims.k % *group != 0) {
      refuse("group_size {} does not divide in_features {}",
             group ? std::to_string(*group) : "that is no integer", dims.k);
      return false;
    }
    dims.group = *group;
    return true;
  }

  void check_quip(Dims& dims) {
    const Dims padded{next_power_of_two(dims.n), next_power_of_two(dims.k), 0};
    if (padded.n != dims.n || padded.k != dims.k)
      remark("{}x{} is padded to {}x{}; the node never crops and cannot run this layer", dims.n, dims.k,
             padded.n, padded.k);
    dims = padded;
    for (const auto& [role, size] : {std::pair("sign_row", dims.n), std::pair("sign_col", dims.k)}) {
      const Entry* sign = layer_.side(role);
      if (!sign) {
        refuse("{} is missing", role);
      } else if (sign->info->shape != Shape{size}) {
        refuse("{} is {}, not [{}]", role, shape_of(*sign), size);
      }
    }
    for (const char* role : {"hadamard_size_out", "hadamard_size_in"})
      if (!layer_.side(role)) refuse("{} is missing", role);
  }

  const Entry* side_of(std::string_view role) const {
    return role == "weight_scale" && layer_.dialect == Dialect::kUnmarked ? layer_.scale()
                                                                          : layer_.side(role);
  }

  void check_side(const SideRule& rule, const Dims& dims) {
    const Entry* side = side_of(rule.role);
    if (!side) {
      if (rule.required) refuse("{} is missing", rule.role);
      return;
    }
    if (rule.format == "float8_e4m3fn" && side->info->shape.size() == 3 && !stock()) {
      remark("scales per row and run of columns under the name float8_e4m3fn");
      return;
    }
    if (rule.format == "int8_tensorwise" && side->info->shape == Shape{dims.n} && dims.n != 1) {
      refuse("{} [{}] would be spread along the columns; rows need [{}, 1]", rule.role, dims.n, dims.n);
    } else if (rule.shapes) {
      const std::vector<Shape> shapes = rule.shapes(dims);
      if (std::ranges::count(shapes, side->info->shape) == 0)
        refuse("{} is {}, not {}", rule.role, shape_of(*side), shapes_text(shapes));
    } else if (!quantized::tiles_of_scale(side->info->shape, dims.n, dims.k)) {
      refuse("{} {} covers no even part of [{}, {}]", rule.role, shape_of(*side), dims.n, dims.k);
    }
    if (is_of(side->info->dtype, rule.types)) return;
    const bool only_wider = rule.types == Types::kF32 && safetensors::is_float(side->info->dtype);
    findings_.push_back({layer_.name,
                         fmt::format("{} is {}, not {}", rule.role, dtype_of(*side), types_text(rule.types)),
                         !only_wider});
  }

  void check_rotation(const FormatRule& rule, const Dims& dims) {
    const bool packed = rule.format == "convrot_w4a4";
    if (!packed && !(layer_.marker.flag("convrot") && rule.codes == Dtype::kI8 && rule.usual_group == 0))
      return;
    const auto group = layer_.marker.integer("convrot_groupsize", 256);
    if (!group) return refuse("convrot_groupsize is not an integer");
    if (packed) {
      if (dims.k % 64 != 0 || *group < 1 || dims.k % *group != 0)
        refuse("in_features {} is not a multiple of 64 and of convrot_groupsize {}", dims.k, *group);
      const auto type = layer_.marker.word("linear_dtype", "int4");
      if (type != "int4" && type != "int8") refuse("linear_dtype must be int4 or int8");
      return;
    }
    if (!is_power_of_four(*group)) {
      refuse("convrot_groupsize {} is not a power of 4", *group);
    } else if (dims.k % *group != 0) {
      refuse("convrot_groupsize {} does not divide in_features {}", *group, dims.k);
    }
    if (!layer_.marker.has("convrot_groupsize"))
      remark("convrot without convrot_groupsize: ComfyUI takes 256, stable-diffusion.cpp refuses");
    const Entry* scale = layer_.scale();
    if (scale && scale->info->numel() == 1 && dims.n > 1)
      remark("rotated with one scale for the whole weight");
  }

  void check_leftovers(const FormatRule& rule) {
    if (layer_.side("weight_correction"))
      refuse("weight_correction is not read: its zero points would be lost");
    constexpr std::string_view kWithInputScale[] = {"float8_e4m3fn", "float8_e5m2", "nvfp4", "mxfp8"};
    if (layer_.side("input_scale") && std::ranges::count(kWithInputScale, rule.format) == 0)
      remark("input_scale is not read for {}", rule.format);
    if (!layer_.marker.is_boolean("full_precision_matrix_mult"))
      remark("full_precision_matrix_mult is not a boolean");
  }

  const Layer& layer_;
  Client client_;
  std::vector<int64_t> shape_;
  std::vector<Finding>& findings_;
};

/// Element types that ComfyUI's own file reader knows.
bool comfyui_reads(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF8E8M0:
    case Dtype::kF8E4M3FNUZ:
    case Dtype::kF8E5M2FNUZ:
    case Dtype::kF6E2M3:
    case Dtype::kF6E3M2:
    case Dtype::kF4: return false;
    default: return true;
  }
}

/// q, k and v of CLIP apart under OpenCLIP's names, which ComfyUI does not map.
bool is_unmapped_clip_projection(std::string_view name) {
  if (!has_numbered(name, "transformer.resblocks.")) return false;
  return std::ranges::any_of(
      std::vector<std::string_view>{".attn.q_proj.", ".attn.k_proj.", ".attn.v_proj."},
      [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

void check_other_tensors(const QuantizedFile& file, Client client, std::vector<Finding>& findings) {
  for (const std::string& stray : file.strays) findings.push_back({stray, "belongs to no quantized layer"});
  for (const Entry& entry : file.checkpoint->entries()) {
    const bool stock = client == Client::kComfyUi;
    if (client != Client::kNone && !comfyui_reads(entry.info->dtype)) {
      findings.push_back({entry.name(),
                          fmt::format("{}: KeyError in ComfyUI's file reader{}", dtype_of(entry),
                                      entry.info->dtype == Dtype::kF8E8M0 ? "; E8M0 scales go into U8" : ""),
                          stock});
    }
    if (stock && is_unmapped_clip_projection(entry.name()))
      findings.push_back({entry.name(),
                          "ComfyUI maps no split q, k and v under transformer.resblocks; "
                          "text_model.encoder.layers.*.self_attn.{q,k,v}_proj are read"});
    const bool codes = entry.info->dtype == Dtype::kI8 || entry.info->dtype == Dtype::kU8;
    if (codes && entry.is_matrix() && !file.of_weight(entry))
      findings.push_back(
          {entry.name(),
           fmt::format("a {} weight without marker: it is loaded as plain numbers", dtype_of(entry))});
  }
}

void check_file(const QuantizedFile& file, Client client, std::vector<Finding>& findings) {
  if (!file.header_fault.empty()) findings.push_back({"", file.header_fault});
  if (file.has_header_map && !file.scaled_fp8.empty())
    findings.push_back(
        {"", "both _quantization_metadata and scaled_fp8: ComfyUI then skips the legacy scales"});
  if (file.log_scales && client != Client::kNone)
    findings.push_back(
        {"", "one-byte logarithmic scales: no ComfyUI loader decodes them; it uses the code as the scale"});
  const bool legacy = std::ranges::any_of(
      file.layers, [](const Layer& layer) { return layer.dialect == Dialect::kScaledFp8; });
  if (!legacy) return;
  if (file.scaled_fp8.size() > 1)
    findings.push_back({"", fmt::format("{} tensors scaled_fp8", file.scaled_fp8.size()), false});
  for (const std::string& name : file.scaled_fp8) {
    const Entry& token = *file.checkpoint->find(name);
    if (token.info->numel() > 2)
      findings.push_back(
          {name, fmt::format("{} elements; 0 or 1 mean fp8 products, 2 full precision", token.info->numel()),
           false});
  }
}

}  // namespace

std::vector<Finding> check_structure(const QuantizedFile& file, Client client,
                                     const QuantizedFile* original) {
  if (client == Client::kSdCpp) return check_stable_diffusion_cpp(file);
  std::vector<Finding> findings;
  for (const Layer& layer : file.layers) {
    std::vector<int64_t> shape = layer.shape();
    if (original && layer.weight) {
      if (const Entry* entry = original->checkpoint->find(layer.weight->name()))
        shape = quantized::shape_of(*original, *entry);
      const std::vector<int64_t> said = layer.marker.original_shape();
      if (!said.empty() && said != shape)
        findings.push_back(
            {layer.name,
             fmt::format("orig_shape is {}, the original has {}", shape_text(said), shape_text(shape)),
             false});
    }
    LayerCheck(layer, client, std::move(shape), findings).run();
  }
  check_other_tensors(file, client, findings);
  check_file(file, client, findings);
  return findings;
}

bool is_refused(const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings, &Finding::refused);
}

}  // namespace ctq::verify
