// Krea 2.
#include "inside.h"
#include "rows.h"

namespace ctq::families {
namespace {

constexpr PreservedDtype kKrea2PreserveDtype[] = {
    {"float32",
     "(?:^|\\.)(?:first|last\\.linear|tmlp\\.(?:0|2)|tproj\\.1|txtfusion\\.projector|"
     "txtmlp\\.(?:1|3))\\.weight$"},
};

constexpr std::string_view kKrea2Highprec[] = {"firs", "las", "tml", "txtfusion", "last.modulatio", "tpro"};

constexpr Signature kKrea2Signatures[] = {
    {{"txtfusion.projector", "txtfusion.layerwise_blocks.0", "blocks.0.attn.wq"}},
};

constexpr std::string_view kKrea2Configuring[] = {"first", "txtfusion.projector"};

}  // namespace

constinit const Preset kKrea2Preset = {
    .name = "krea2",
    .help =
        "Krea 2 transformer. First/last layers, time and text MLPs, text fusion and time projection stay "
        "unquantized.",
    .category = "diffusion",
    .preserve_dtype = kKrea2PreserveDtype,
    .peer = PatternLists{.highprec = kKrea2Highprec}};

constinit const Family kKrea2 = {
    .name = "krea2",
    .title = "Krea 2",
    .kind = Kind::kDiffusion,
    .signatures = kKrea2Signatures,
    .preset = &kKrea2Preset,
    .comfyui = {.configuring = kKrea2Configuring, .encoders = inside::kQwen3Vl4b},
};

}  // namespace ctq::families
