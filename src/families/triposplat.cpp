// TripoSplat.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kTriposplatSignatures[] = {
    {{"cam_out_layer", "repo_layers.0.final_map"}},
};

}  // namespace

constinit const Family kTriposplat = {
    .name = "triposplat",
    .title = "TripoSplat",
    .kind = Kind::kDiffusion,
    .signatures = kTriposplatSignatures,
};

}  // namespace ctq::families
