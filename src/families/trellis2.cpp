// Trellis 2 and Pixal3D: three models in one file.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kTrellis2Signatures[] = {
    {{"img2shape.t_embedder.mlp.0", "structure_model"}},
    {{"shape2txt.t_embedder.mlp.0", "structure_model"}},
    {{"img2shape.t_embedder.mlp.0"}},
    {{"shape2txt.t_embedder.mlp.0"}},
};

}  // namespace

constinit const Family kTrellis2 = {
    .name = "trellis2",
    .title = "Trellis 2, Pixal3D",
    .kind = Kind::kDiffusion,
    .signatures = kTrellis2Signatures,
};

}  // namespace ctq::families
