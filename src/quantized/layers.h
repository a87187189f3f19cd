// The quantized layers of a checkpoint, in whatever dialect the file speaks: found from headers and markers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/marker.h"
#include "model/checkpoint.h"

namespace ctq::quantized {

/// Who says that a weight is quantized, and how (docs/files.md, "Dialects"). What is told of each stands in
/// one table, src/quantized/dialects.cpp.
enum class Dialect : uint8_t {
  kMarker,     ///< <layer>.comfy_quant; where the header has a map too, its marker wins
  kHeader,     ///< the header's `_quantization_metadata` alone
  kScaledFp8,  ///< <layer>.scale_weight in a file with a tensor `scaled_fp8`
  kLogScales,  ///< one-byte <layer>.scale_weight in a file with a tensor `scale_format`
  kUnmarked,   ///< 8-bit codes with a scale and nothing else: readers guess
  kRaw,        ///< FP8 values that need no scale
  // Of other programs.
  kScaleInv,           ///< <tensor>_scale_inv, which is multiplied all the same
  kPlainScale,         ///< <layer>.scale beside codes: SDNQ, DeepSeek
  kQscale,             ///< <layer>.qscale_weight: Mistral
  kBitsandbytes,       ///< NF4, FP4 and LLM.int8
  kQuanto,             ///< <tensor>._data
  kTorchao,            ///< <layer>._weight_qdata
  kCompressedTensors,  ///< <layer>.weight_packed, or zero points beside a scale
  kGptq,               ///< <layer>.qweight, packed along in_features
  kAwq,                ///< <layer>.qweight, packed along out_features
  kHqq,                ///< <layer>.W_q
  kNvfp4,              ///< NVFP4 without a marker, in ComfyUI's layout or ModelOpt's
  kMxfp8,              ///< MXFP8 without a marker, in either order of its scales
  kMxfp4,              ///< <tensor>_blocks and <tensor>_scales: gpt-oss
  kNamed,              ///< recognised, but not decoded here: Layer::program says whose
  kUnknown,            ///< codes beside tensors whose meaning nobody knows here
};

/// "comfy_quant", "header", "scaled_fp8", "log scales", "no marker", "raw", "bitsandbytes" ...
std::string_view dialect_name(Dialect dialect);
/// Whether another program's tensors stand for the weight, which no marker or scale of ComfyUI's describes.
bool is_foreign(Dialect dialect);

/// A quantized layer, as the file describes it. Nothing is checked: ctq/verify does that.
struct Layer {
  std::string name;  ///< what stands before ".weight"; of a raw FP8 tensor of another name all of it
  Dialect dialect = Dialect::kMarker;
  std::string format;  ///< the marker's word, or what the dialect stands for; empty when the marker says none
  format::Marker marker;
  std::string marker_fault;     ///< why the marker cannot be read: "comfy_quant is not a JSON object"
  bool marker_differs = false;  ///< the header's marker is not that of the tensor
  const model::Checkpoint::Entry* weight = nullptr;                           ///< null when the file lacks it
  std::map<std::string, const model::Checkpoint::Entry*, std::less<>> sides;  ///< by role: "weight_scale"

  // Of foreign dialects.
  std::string program;               ///< of kNamed: "nunchaku (SVDQuant)"
  std::string fault;                 ///< why it cannot be decoded, as far as headers tell
  bool order_unknown = false;        ///< that is the fault, and QuantizedFile::scale_order would mend it
  std::string scale_role;            ///< of the one scale that codes are multiplied by; else empty
  std::string tensor;                ///< name of the plain weight, where it is not <name>.weight
  std::vector<int64_t> plain_shape;  ///< of that weight
  int64_t rotated_run = 0;           ///< columns of it that the program rotated together; 0: none
  std::string plain_type;            ///< what it was before: "bfloat16"; empty where nothing says so

  /// "nunchaku (SVDQuant)", or the dialect's name.
  std::string_view dialect_label() const;
  /// The tensor that the codes stand for.
  std::string plain_name() const;
  /// The tensor of that role, or null.
  const model::Checkpoint::Entry* side(std::string_view role) const;
  /// The scale by its current or its legacy name, or null.
  const model::Checkpoint::Entry* scale() const;
  /// Whether the weight holds codes. False where a scale stands beside a weight that was kept.
  bool has_codes() const;
  /// Whether the codes are of T = S diag(sign_row) W diag(sign_col) S, as QuIP stores them on request.
  bool is_quip() const { return sides.contains("hadamard_quip"); }
  /// Columns that ConvRot rotates together; 0: none.
  int64_t rotation_group() const;
  /// Of the weight that the codes stand for, [out_features, in_features] or with a leading number of experts:
  /// what the marker says, else what the stored tensors tell. Empty when they do not.
  std::vector<int64_t> shape() const;
};

/// What one-byte scales mean: s = 10^(c / 255 (log10_max - log10_min) + log10_min), and w = code * s or
/// code / s.
struct LogScales {
  double log10_min = -10;
  double log10_max = 2;
  bool multiplier = true;  ///< codes are divided by s
  bool declared = false;   ///< the file says so; otherwise it is guessed from the codes of kept layers
};

/// A checkpoint and its quantized layers. Refers to the checkpoint.
struct QuantizedFile {
  const model::Checkpoint* checkpoint = nullptr;
  std::vector<Layer> layers;            ///< by name
  std::vector<std::string> tokens;      ///< tensors that say something of the whole file: `scaled_fp8`,
                                        ///< `scale_format`, scales of kept layers beside one-byte scales
  std::vector<std::string> scaled_fp8;  ///< of these, the markers of the legacy layout
  std::vector<std::string> strays;      ///< scales and markers that belong to no layer
  std::string header_fault;             ///< why the header's map cannot be read
  bool has_header_map = false;
  std::optional<LogScales> log_scales;

  /// Readers of layouts of NVFP4 and MXFP8 that no marker tells apart.
  enum class ScaleOrder : uint8_t {
    kUnknown,   ///< shapes fit both, and values do not tell
    kSwizzled,  ///< ComfyUI: scales in the order of tensor cores, the even column in the high nibble
    kRows,      ///< ModelOpt, compressed-tensors: scales row by row, the even column in the low nibble
  };
  ScaleOrder scale_order = ScaleOrder::kUnknown;  ///< of unmarked layers of both formats

  std::map<std::string, size_t, std::less<>> weights;  ///< index of the layer by its weight's tensor
  std::map<std::string, size_t, std::less<>> parts;    ///< the same for all other tensors of layers

  const Layer* find(std::string_view layer) const;
  /// The layer whose weight this tensor is, or null.
  const Layer* of_weight(const model::Checkpoint::Entry& entry) const;
  /// Whether the tensor is something other than a weight, a bias or whatever else a plain model holds.
  bool is_side(std::string_view tensor) const;
};

/// Looks at headers, markers and the few bytes that declare one-byte scales. Unreadable markers are findings
/// (Layer::marker_fault), not errors.
QuantizedFile find_layers(const model::Checkpoint& checkpoint);

/// "int8_tensorwise" from the type of codes and the shape of their scale, for layers without a marker; empty
/// when no format has such a scale.
std::string format_of_scale(safetensors::Dtype codes, const std::vector<int64_t>& weight,
                            const std::vector<int64_t>& scale);

/// The bytes of a tensor as text.
std::string text_of(const model::Checkpoint::Entry& entry);
/// No marker is near as long; stable-diffusion.cpp takes none that is longer.
inline constexpr uint64_t kMaxMarkerBytes = 64 << 10;

}  // namespace ctq::quantized
