// What takes Gemma's output to the width of LTX-2, in a file of its own.
#include "rows.h"

namespace ctq::families {
namespace {

constexpr Signature kLtx2ProjectionSignatures[] = {
    {{"text_embedding_projection"}},
};

}  // namespace

// ComfyUI reads scales in it only where the file of Gemma beside it is quantized too.
constinit const Family kLtx2Projection = {
    .name = "ltx2_projection",
    .title = "the text projection of LTX-2",
    .kind = Kind::kTextEncoder,
    .signatures = kLtx2ProjectionSignatures,
    .comfyui = {.reads_quantized = false},
};

}  // namespace ctq::families
