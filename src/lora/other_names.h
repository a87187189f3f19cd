// Layers that a model has under another name than the adapter, or as rows of a larger layer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "families/foreign_names.h"

namespace ctq::lora {

/// Which rows of a layer another one is, in units of its own rows.
struct Rows {
  bool from_end = false;
  int64_t index = 0;  ///< from the first rows, or from the last

  int64_t first(int64_t rows, int64_t of) const { return from_end ? of - (index + 1) * rows : index * rows; }
};

/// All of a layer, or some of its rows.
struct OtherName {
  std::string name;
  bool whole = true;
  Rows rows = {};
  families::Values values = families::Values::kSame;
};

/// "blocks_0_attn_to_k" -> the last but one rows of "blocks_0_attn_qkv". name: with '_' for '.', as those
/// that are returned.
std::vector<OtherName> fused_names(std::string_view name);

/// "transformer_blocks_3_attn_to_out_0" -> "double_blocks_3_img_attn_proj": from the names that another
/// library gives the layers to ours. name: as above.
std::vector<OtherName> own_names(const families::NameMap& map, std::string_view name);

}  // namespace ctq::lora
