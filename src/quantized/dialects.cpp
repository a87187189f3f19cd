#include "dialects.h"

#include <algorithm>

#include "base/error.h"

namespace ctq::quantized {
namespace {

constexpr bool kForeign = true;

constexpr DialectRow kDialects[] = {
    {Dialect::kMarker, "comfy_quant", find_marked},
    {Dialect::kHeader, "header", nullptr},
    {Dialect::kLogScales, "log scales", find_log_scales},
    {Dialect::kScaledFp8, "scaled_fp8", find_scaled_fp8},
    {Dialect::kBitsandbytes, "bitsandbytes", find_bitsandbytes, kForeign, decode_bitsandbytes},
    {Dialect::kQuanto, "quanto", find_quanto, kForeign, decode_quanto},
    {Dialect::kTorchao, "torchao", find_torchao, kForeign, decode_torchao},
    {Dialect::kNamed, "named", find_named, kForeign},
    {Dialect::kGptq, "GPTQ", find_gptq_and_awq, kForeign, decode_gptq},
    {Dialect::kAwq, "AWQ", nullptr, kForeign, decode_awq},
    {Dialect::kHqq, "HQQ", find_hqq, kForeign, decode_hqq},
    {Dialect::kMxfp4, "MXFP4 blocks", find_mxfp4, kForeign, decode_mxfp4},
    {Dialect::kCompressedTensors, "compressed-tensors", find_compressed_tensors, kForeign,
     decode_compressed_tensors},
    {Dialect::kNvfp4, "NVFP4 without markers", find_block_scaled, kForeign, decode_block_scaled},
    {Dialect::kMxfp8, "MXFP8 without markers", nullptr, kForeign, decode_block_scaled},
    {Dialect::kScaleInv, "weight_scale_inv", find_scale_inv, kForeign},
    {Dialect::kQscale, "qscale_weight", find_qscale, kForeign},
    {Dialect::kPlainScale, "scale beside codes", find_plain_scale, kForeign, decode_plain_scale},
    {Dialect::kUnmarked, "no marker", find_unmarked},
    {Dialect::kUnknown, "unknown dialect", find_unknown, kForeign},
    {Dialect::kRaw, "raw", find_raw},
};

}  // namespace

std::span<const DialectRow> dialects() { return kDialects; }

const DialectRow& row_of(Dialect dialect) {
  return *std::ranges::find(kDialects, dialect, &DialectRow::dialect);
}

std::string_view dialect_name(Dialect dialect) { return row_of(dialect).name; }

bool is_foreign(Dialect dialect) { return row_of(dialect).foreign; }

}  // namespace ctq::quantized
