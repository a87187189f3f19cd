#include "search.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "model/layer_names.h"

namespace ctq::quantized {
namespace {

using safetensors::Dtype;

/// Last components of the names of tensors that belong to a layer of ComfyUI's dialects.
constexpr std::array<std::string_view, 21> kRoles = {
    "comfy_quant",   "weight_scale",     "weight_scale_2",    "input_scale",       "pre_quant_scale",
    "weight_s_rel",  "weight_s_channel", "weight_codebook",   "weight_correction", "weight_zeros",
    "weight_scalar", "scale_weight",     "scale_input",       "smooth_factors",    "quip_s_u",
    "quip_s_v",      "hadamard_quip",    "hadamard_size_out", "hadamard_size_in",  "sign_row",
    "sign_col"};

/// Longer than any configuration of a model.
constexpr std::uintmax_t kMaxConfigurationBytes = 1 << 20;

nlohmann::json read_json(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) > kMaxConfigurationBytes || error) return {};
  std::ifstream file(path);
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

std::pair<std::string_view, std::string_view> split_name(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {"", name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

bool is_byte_code(Dtype dtype) { return is_fp8(dtype) || dtype == Dtype::kI8 || dtype == Dtype::kU8; }

void describe_scaled(Layer& layer, const model::Checkpoint::Entry& scale) {
  const Dtype codes = layer.weight->info->dtype;
  layer.plain_shape = layer.weight->info->shape;
  layer.format = format_of_scale(codes, layer.plain_shape, scale.info->shape);
  if (layer.format.empty()) layer.format = is_fp8(codes) ? "float8_e4m3fn_blockwise" : "int8_blockwise";
  if (codes == Dtype::kF8E5M2) layer.format = "float8_e5m2";
}

std::span<const Search::Entry> Search::beginning_with(std::string_view prefix) const {
  const auto all = entries();
  const auto name = [](const Entry& entry) -> std::string_view { return entry.name(); };
  const auto first = std::ranges::lower_bound(all, prefix, {}, name);
  const auto last = std::find_if(first, all.end(), [&](const Entry& entry) {
    return !std::string_view(entry.name()).starts_with(prefix);
  });
  return {first, last};
}

const nlohmann::json& Search::configuration() const {
  if (configuration_) return *configuration_;
  configuration_ = nlohmann::json::object();
  const auto said = metadata().find("quantization_config");
  std::vector<nlohmann::json> texts;
  if (said != metadata().end())
    texts.push_back(nlohmann::json::parse(said->second, nullptr, /*allow_exceptions=*/false));
  if (!checkpoint_.files().empty()) {
    const auto folder = std::filesystem::path(checkpoint_.files().front()).parent_path();
    for (const char* name : {"quantize_config.json", "quantization_config.json", "config.json"}) {
      nlohmann::json text = read_json(folder / name);
      if (text.is_object() && text.contains("quantization_config"))
        text = text["quantization_config"];
      else if (std::string_view(name) == "config.json")
        continue;
      texts.push_back(std::move(text));
    }
  }
  for (const nlohmann::json& text : texts) {
    if (text.is_object() && configuration_->empty()) configuration_ = text;
  }
  return *configuration_;
}

Layer& Search::add(std::string name, Dialect dialect) {
  Layer& layer = layers[name];
  layer.dialect = dialect;
  layer.weight = find(name + ".weight");
  if (layer.weight) claimed_.insert(layer.weight);
  for (const std::string_view role : kRoles) attach(layer, role, fmt::format("{}.{}", name, role));
  layer.name = std::move(name);
  return layer;
}

Layer* Search::add_foreign(Dialect dialect, const Entry& weight, const std::string& tensor,
                           std::initializer_list<std::string_view> roles) {
  const std::string_view plain = model::without_suffix(tensor, ".weight");
  const std::string name(plain.empty() ? std::string_view(tensor) : plain);
  if (is_claimed(weight) || has_layer(name)) return nullptr;
  Layer& layer = layers[name];
  layer.name = name;
  layer.dialect = dialect;
  layer.weight = &weight;
  if (plain.empty()) layer.tensor = tensor;
  claimed_.insert(&weight);
  for (const std::string_view role : roles) attach(layer, role, fmt::format("{}.{}", name, role));
  attach(layer, "input_scale", name + ".input_scale");
  if (const Entry* other = find(tensor); other && other != &weight && !is_claimed(*other))
    layer.fault = fmt::format("the file also holds '{}'", tensor);
  return &layer;
}

bool Search::is_side_name(std::string_view tensor) const {
  return std::ranges::count(found.tokens, tensor) > 0 ||
         std::ranges::count(kRoles, split_name(tensor).second) > 0;
}

void Search::attach(Layer& layer, std::string_view role, const std::string& tensor) {
  const Entry* entry = find(tensor);
  if (!entry || entry == layer.weight) return;
  layer.sides[std::string(role)] = entry;
  claimed_.insert(entry);
}

}  // namespace ctq::quantized
