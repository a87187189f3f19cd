#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "quantized/scale_tiles.h"
#include "verify/checked_layer.h"

namespace ctq::verify {
namespace {

using quantized::Dialect;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

std::string shapes_text(const std::vector<Shape>& shapes) {
  std::vector<std::string> texts;
  for (const Shape& shape : shapes) texts.push_back(shape_text(shape));
  return fmt::format("{}", fmt::join(texts, " or "));
}

class FormatCheck : private CheckedLayer {
 public:
  explicit FormatCheck(const CheckedLayer& layer) : CheckedLayer(layer) {}

  void run(const FormatRule& rule) {
    const bool quip = layer_.is_quip();
    if (quip && stock() && !client::implied_by(rule.format))
      refuse("transformed by QuIP under the stock name {}: ComfyUI does not undo it", rule.format);
    check_input_factors(rule);
    if (is_bank()) {
      check_experts();
    } else if (shape_.size() != 2) {
      add(fmt::format("{}-D: only linear layers, expert banks and embeddings read a marker", shape_.size()),
          stock());
      return;
    }
    check_code_type(rule);
    Dims dims{shape_.end()[-2], shape_.back(), 0};
    if (rule.usual_group > 0 && !read_group(rule, dims)) return;
    if (quip) check_quip(dims);
    const std::vector<Shape> stored = with_experts(rule.stored(dims));
    if (std::ranges::count(stored, layer_.weight->info->shape) == 0)
      refuse("the weight is {}, a layer of {} needs {}", shape_of(*layer_.weight), shape_text(shape_),
             shapes_text(stored));
    for (const SideRule& side : side_rules(rule.format)) {
      if (is_bank() && (side.role == "input_scale" || side.role == "pre_quant_scale"))
        check_unread(side.role);
      else
        check_side(side, dims);
    }
    check_rotation(rule, dims);
    check_leftovers(rule);
  }

 private:
  /// What belongs to the layer's input, of which ComfyUI's banks know nothing.
  void check_unread(std::string_view role) {
    if (layer_.side(role))
      add(fmt::format("{} is not read in a bank of experts", role),
          /*refused=*/role == "pre_quant_scale");
  }

  void check_experts() {
    if (!loader_.parts().of(layer_.name).family)
      remark("3-D: read only where the model holds a bank of experts");
    const auto said = layer_.marker.integer("num_experts", shape_[0]);
    if (said != shape_[0]) remark("num_experts is not {}, the experts of the weight", shape_[0]);
  }

  /// Of one expert's tensor those of the whole bank: a single number may stand for all experts.
  std::vector<Shape> with_experts(std::vector<Shape> shapes) const {
    if (!is_bank()) return shapes;
    std::vector<Shape> banks;
    for (Shape& shape : shapes) {
      if (shape.empty()) banks.emplace_back();
      if (shape == Shape{1} && shapes.size() > 1) continue;
      shape.insert(shape.begin(), shape_[0]);
      banks.push_back(std::move(shape));
    }
    return banks;
  }

  /// ComfyUI casts codes of another type as numbers.
  void check_code_type(const FormatRule& rule) {
    const Dtype stored = layer_.weight->info->dtype;
    if (stored == rule.codes) return;
    const auto bytes = [](Dtype dtype) { return dtype == Dtype::kI8 || dtype == Dtype::kU8; };
    const std::string fact = fmt::format("the weight is {}, {} stores {}", dtype_of(*layer_.weight),
                                         rule.format, safetensors::dtype_name(rule.codes));
    if (bytes(stored) && bytes(rule.codes)) {
      remark("{}: the same bits for ComfyUI; other programs look at the type", fact);
    } else if (stored == Dtype::kF8E5M2 && rule.codes == Dtype::kF8E4M3) {
      remark("{}: it is cast, and codes above 448 become NaN", fact);
    } else {
      refuse("{}: it is converted as a number, not as bits", fact);
    }
  }

  bool read_group(const FormatRule& rule, Dims& dims) {
    const auto group = layer_.marker.integer("group_size", rule.usual_group);
    if (!layer_.marker.is_number("group_size"))
      remark("group_size is text: ComfyUI takes it for the number, other programs need not");
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

  /// Whether scales of that shape divide every weight into tiles.
  bool covers(Shape scales, const Dims& dims) const {
    if (is_bank() && !scales.empty()) {
      if (scales.front() != shape_[0]) return false;
      scales.erase(scales.begin());
    }
    return quantized::tiles_of_scale(scales, dims.n, dims.k).has_value();
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
    if (rule.format == "float8_e4m3fn" && side->info->shape.size() == 3 && !is_bank() && !stock()) {
      remark("scales per row and run of columns under the name float8_e4m3fn");
      return;
    }
    if (rule.format == "int8_tensorwise" && side->info->shape == Shape{dims.n} && dims.n != 1 && !is_bank()) {
      refuse("{} [{}] would be spread along the columns; rows need [{}, 1]", rule.role, dims.n, dims.n);
    } else if (rule.shapes) {
      check_side_shape(rule, *side, with_experts(rule.shapes(dims)));
    } else if (!covers(side->info->shape, dims)) {
      refuse("{} {} covers no even part of {}", rule.role, shape_of(*side), shape_text(shape_));
    }
    if (is_of(side->info->dtype, rule.types)) return;
    if (side->info->dtype == Dtype::kF8E8M0 && rule.types == Types::kU8) return;  // said of the tensor itself
    const bool only_wider = rule.types == Types::kF32 && safetensors::is_float(side->info->dtype);
    add(fmt::format("{} is {}, not {}", rule.role, dtype_of(*side), types_text(rule.types)), !only_wider);
  }

  void check_side_shape(const SideRule& rule, const Entry& side, const std::vector<Shape>& shapes) {
    if (std::ranges::count(shapes, side.info->shape) > 0) return;
    if (side.info->numel() == 1 && std::ranges::count(shapes, Shape{}) > 0 && !is_bank()) {
      remark("{} is {}: one element, but of another shape than programs write", rule.role, shape_of(side));
    } else if (rule.role == "input_scale") {
      remark("input_scale is {}: a GPU that multiplies in this format fails on it; elsewhere it is not used",
             shape_of(side));
    } else {
      refuse("{} is {}, not {}", rule.role, shape_of(side), shapes_text(shapes));
    }
  }

  void check_rotation(const FormatRule& rule, const Dims& dims) {
    const bool packed = rule.format == "convrot_w4a4";
    if (!packed && !(layer_.marker.flag("convrot") && rule.codes == Dtype::kI8 && rule.usual_group == 0))
      return;
    const auto group = layer_.marker.integer("convrot_groupsize", 256);
    if (!group) return refuse("convrot_groupsize is not an integer");
    if (!layer_.marker.is_number("convrot_groupsize"))
      remark("convrot_groupsize is text: ComfyUI takes it for the number, other programs need not");
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

  /// Where they are not read, the weight is another one.
  void check_input_factors(const FormatRule& rule) {
    if (!layer_.side("pre_quant_scale")) return;
    const std::string why = client::input_factor_obstacle(loader_.client(), rule.format);
    if (!why.empty()) return refuse("{}: its input would not be multiplied", why);
    if (shape_.size() == 3) refuse("pre_quant_scale is not read for banks of experts");
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
};

}  // namespace

void check_format(const CheckedLayer& layer, const FormatRule& rule) { FormatCheck(layer).run(rule); }

}  // namespace ctq::verify
