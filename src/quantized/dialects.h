// The table of dialects: how the layers of each are found, and what their tensors stand for.
#pragma once

#include <span>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "quantized/search.h"

namespace ctq::quantized {

struct DialectRow {
  Dialect dialect;
  std::string_view name;  ///< as `inspect` and messages print it
  void (*find)(Search&);  ///< null where the row before finds them
  bool foreign = false;   ///< as is_foreign()
  /// float32, of the layer's plain_shape. Null: codes times the layer's scale, or the codec of its format.
  /// throws  Error(kBadInput) naming what is missing or does not fit
  at::Tensor (*decode)(const QuantizedFile&, const Layer&) = nullptr;
};

/// In the order in which they are looked for.
std::span<const DialectRow> dialects();
const DialectRow& row_of(Dialect dialect);

// One file each in dialects/.
void find_marked(Search& search);
void find_log_scales(Search& search);
void find_scaled_fp8(Search& search);
void find_unmarked(Search& search);
void find_raw(Search& search);

void find_scale_inv(Search& search);
void find_qscale(Search& search);
void find_plain_scale(Search& search);
void find_bitsandbytes(Search& search);
void find_quanto(Search& search);
void find_torchao(Search& search);
void find_compressed_tensors(Search& search);
void find_gptq_and_awq(Search& search);
void find_hqq(Search& search);
void find_block_scaled(Search& search);
void find_mxfp4(Search& search);
void find_named(Search& search);
void find_unknown(Search& search);

at::Tensor decode_plain_scale(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_bitsandbytes(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_quanto(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_torchao(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_compressed_tensors(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_gptq(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_awq(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_hqq(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_block_scaled(const QuantizedFile& file, const Layer& layer);
at::Tensor decode_mxfp4(const QuantizedFile& file, const Layer& layer);

}  // namespace ctq::quantized
