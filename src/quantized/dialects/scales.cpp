// Codes of one byte beside a scale of another name: weight_scale_inv, qscale_weight.
#include "model/layer_names.h"
#include "quantized/dialects.h"

namespace ctq::quantized {
namespace {

using Entry = model::Checkpoint::Entry;

}  // namespace

void find_scale_inv(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string tensor(model::without_suffix(entry.name(), "_scale_inv"));
    const Entry* codes = tensor.empty() ? nullptr : search.find(tensor);
    if (!codes || !is_fp8(codes->info->dtype)) continue;
    Layer* layer = search.add_foreign(Dialect::kScaleInv, *codes, tensor, {"activation_scale"});
    if (!layer) continue;
    layer->scale_role = split_name(entry.name()).second;
    search.attach(*layer, layer->scale_role, entry.name());
    describe_scaled(*layer, entry);
  }
}

void find_qscale(Search& search) {
  for (const Entry& entry : search.entries()) {
    const std::string name(model::without_suffix(entry.name(), ".qscale_weight"));
    const Entry* codes = name.empty() ? nullptr : search.find(name + ".weight");
    if (!codes || !is_fp8(codes->info->dtype)) continue;
    Layer* layer =
        search.add_foreign(Dialect::kQscale, *codes, codes->name(), {"qscale_weight", "qscale_act"});
    if (!layer) continue;
    layer->scale_role = "qscale_weight";
    describe_scaled(*layer, entry);
  }
}

}  // namespace ctq::quantized
