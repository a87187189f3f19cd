#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "families/parts.h"
#include "model/file_kind.h"
#include "model/layer_names.h"
#include "quantized/decode.h"
#include "stable_diffusion_cpp.h"
#include "verify/checked_layer.h"
#include "verify/client.h"

namespace ctq::verify {
namespace {

using client::Program;
using quantized::Dialect;
using quantized::Layer;
using quantized::QuantizedFile;
using safetensors::Dtype;
using Entry = model::Checkpoint::Entry;

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

/// Element types that the file reader of ComfyUI knows which it uses with dynamic memory, the default on
/// NVIDIA cards. Elsewhere it has the reader of safetensors, which knows all but those of 4 and 6 bits.
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

void check_other_tensors(const QuantizedFile& file, Program client, std::vector<Finding>& findings) {
  for (const std::string& stray : file.strays) findings.push_back({stray, "belongs to no quantized layer"});
  for (const Entry& entry : file.checkpoint->entries()) {
    const bool stock = client == Program::kComfyUi;
    if (client != Program::kAny && !comfyui_reads(entry.info->dtype)) {
      findings.push_back({entry.name(),
                          fmt::format("{}: KeyError in ComfyUI's file reader where it uses dynamic memory{}",
                                      dtype_of(entry),
                                      entry.info->dtype == Dtype::kF8E8M0 ? "; E8M0 scales go into U8" : ""),
                          stock && safetensors::dtype_bits(entry.info->dtype) < 8});
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

/// Whether a layer is in a text encoder inside a checkpoint, to which the token of the whole file does not
/// reach.
bool lacks_token(const QuantizedFile& file, const Layer& layer) {
  const std::string_view prefix = model::checkpoint_prefix(layer.name);
  if (layer.dialect != Dialect::kScaledFp8 || prefix == model::model_prefix(layer.name)) return false;
  return std::ranges::none_of(file.scaled_fp8, [&](const std::string& token) {
    const std::string_view covered = model::without_suffix(token, "scaled_fp8");
    return !covered.empty() && layer.name.starts_with(covered);
  });
}

void check_file(const QuantizedFile& file, Program client, std::vector<Finding>& findings) {
  if (!file.header_fault.empty()) findings.push_back({"", file.header_fault});
  if (file.has_header_map && !file.scaled_fp8.empty())
    findings.push_back(
        {"", "both _quantization_metadata and scaled_fp8: ComfyUI then skips the legacy scales"});
  if (file.log_scales && client != Program::kAny)
    findings.push_back(
        {"", "one-byte logarithmic scales: no ComfyUI loader decodes them; it uses the code as the scale"});
  const auto prefixed = [](const Layer& layer) { return !model::model_prefix(layer.name).empty(); };
  if (file.has_header_map && std::ranges::any_of(file.layers, prefixed))
    findings.push_back(
        {"",
         "_quantization_metadata names layers with the prefix of their model: ComfyUI's Load Diffusion "
         "Model logs each as unexpected",
         false});
  const bool legacy = std::ranges::any_of(
      file.layers, [](const Layer& layer) { return layer.dialect == Dialect::kScaledFp8; });
  if (!legacy) return;
  const auto uncovered = std::ranges::find_if(
      file.layers, [&](const Layer& layer) { return client != Program::kAny && lacks_token(file, layer); });
  if (uncovered != file.layers.end())
    findings.push_back(
        {uncovered->name, fmt::format("no token {}scaled_fp8: ComfyUI ignores the scales of that encoder",
                                      model::checkpoint_prefix(uncovered->name))});
  for (const std::string& name : file.scaled_fp8) {
    const Entry& token = *file.checkpoint->find(name);
    if (token.info->numel() > 2)
      findings.push_back(
          {name, fmt::format("{} elements; 0 or 1 mean fp8 products, 2 full precision", token.info->numel()),
           false});
  }
}

/// Adapters are added to weights by their values; only nodes of their own read scales there.
void check_adapter(const QuantizedFile& file, Program client, std::vector<Finding>& findings) {
  const bool coded = std::ranges::any_of(
      file.layers, [](const Layer& layer) { return layer.dialect != Dialect::kRaw && layer.has_codes(); });
  if (client == Program::kAny || !coded || model::kind_of(*file.checkpoint) != model::FileKind::kAdapter)
    return;
  findings.push_back({"", "an adapter (LoRA) with scales: ComfyUI's loader of adapters does not read them",
                      client == Program::kComfyUi});
}

}  // namespace

std::vector<Finding> check_structure(const QuantizedFile& file, const client::Client& client,
                                     const QuantizedFile* original) {
  if (client.program == Program::kStableDiffusionCpp) return check_stable_diffusion_cpp(file);
  const families::Parts parts(file.checkpoint->names(), [&](std::string_view tensor) {
    return file.checkpoint->find(tensor)->info->shape;
  });
  const client::Loader loader(client, parts);
  std::vector<Finding> findings;
  const bool marked = std::ranges::any_of(file.layers, [](const Layer& layer) {
    return layer.dialect == Dialect::kMarker || layer.dialect == Dialect::kHeader;
  });
  for (const Layer& layer : file.layers) {
    std::vector<int64_t> shape = layer.shape();
    if (original && layer.weight) {
      if (const Entry* entry = quantized::weight_named(*original, layer.plain_name()))
        shape = quantized::shape_of(*original, *entry);
      const std::vector<int64_t> said = layer.marker.original_shape();
      if (!said.empty() && said != shape)
        findings.push_back(
            {layer.name,
             fmt::format("orig_shape is {}, the original has {}", shape_text(said), shape_text(shape)),
             false});
    }
    check_layer({layer, loader, std::move(shape), findings}, marked);
  }
  check_other_tensors(file, client.program, findings);
  check_file(file, client.program, findings);
  check_adapter(file, client.program, findings);
  return findings;
}

bool is_refused(const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings, &Finding::refused);
}

}  // namespace ctq::verify
