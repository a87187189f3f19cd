// Which program reads which format, and since when: rows of data.
#pragma once

#include <span>
#include <string_view>

#include "client/client.h"

namespace ctq::client {

/// A format that ComfyUI as it is published reads, and the first release that does. By the history of its
/// comfy/quant_ops.py and comfy/ops.py.
struct Release {
  std::string_view format;
  Version since;
};

std::span<const Release> comfyui_formats();
/// Since when ComfyUI reads FP8, and INT8, in embedding tables.
inline constexpr Version kFp8Tables{0, 21, 0}, kInt8Tables{0, 30, 0};
/// Since when ComfyUI reads banks of experts.
inline constexpr Version kBanks{0, 23, 0};
/// Since when ComfyUI reads `pre_quant_scale`: linear layers of nvfp4 alone, no tables and no banks of
/// experts.
inline constexpr Version kInputFactors{0, 31, 0};
/// The newest release that this was written from: 0.33 was run, 0.34 was read.
inline constexpr Version kNewestComfyUi{0, 34, 0};
/// The first release that reads `.comfy_quant`; those before read the legacy scaled_fp8 alone.
inline constexpr Version kFirstMarkers{0, 4, 0};

/// A format that ComfyUI reads only with a node, or a build, that adds it.
struct Reader {
  std::string_view format;
  std::string_view name;     ///< "ComfyUI-QuantOps"
  std::string_view instead;  ///< a format of its kind that ComfyUI reads
};

std::span<const Reader> other_readers();

}  // namespace ctq::client
