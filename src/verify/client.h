// What the programs that load quantized files refuse, or read with another meaning (docs/files.md, "verify").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"
#include "quantized/layers.h"

namespace ctq::verify {

struct Finding {
  std::string subject;  ///< a layer, a tensor, or empty for the file
  std::string text;     ///< one clause: "weight_scale is missing"
  bool refused = true;  ///< the file fails; otherwise a remark
};

/// What headers and markers show: missing tensors, wrong types and shapes, markers that the client does not
/// understand, layers that it would not read (client::Loader, which decides what a plan writes, too). By
/// layer, in the order of their names; then what concerns other tensors and the file.
///
/// original  gives the weights' shapes where the file does not, as for padded ones; null: shapes are taken
///           from markers and stored tensors
std::vector<Finding> check_structure(const quantized::QuantizedFile& file, const client::Client& client,
                                     const quantized::QuantizedFile* original = nullptr);

/// Whether the file fails.
bool is_refused(const std::vector<Finding>& findings);

}  // namespace ctq::verify
