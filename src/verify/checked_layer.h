// A layer of a file with what a client says of it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/text.h"
#include "client/loader.h"
#include "quantized/layers.h"
#include "verify/client.h"
#include "verify/format_rules.h"

namespace ctq::verify {

inline std::string_view dtype_of(const model::Checkpoint::Entry& entry) {
  return safetensors::dtype_name(entry.info->dtype);
}
inline std::string shape_of(const model::Checkpoint::Entry& entry) { return shape_text(entry.info->shape); }

/// What the checks of one layer share.
class CheckedLayer {
 public:
  /// shape: of the weight that the layer stands for
  CheckedLayer(const quantized::Layer& layer, const client::Loader& loader, std::vector<int64_t> shape,
               std::vector<Finding>& findings)
      : layer_(layer), loader_(loader), shape_(std::move(shape)), findings_(findings) {}

 protected:
  template <typename... Args>
  void refuse(fmt::format_string<Args...> text, Args&&... args) {
    add(fmt::format(text, std::forward<Args>(args)...), true);
  }
  template <typename... Args>
  void remark(fmt::format_string<Args...> text, Args&&... args) {
    add(fmt::format(text, std::forward<Args>(args)...), false);
  }
  void add(std::string text, bool refused) { findings_.push_back({layer_.name, std::move(text), refused}); }

  bool stock() const { return loader_.client().program == client::Program::kComfyUi; }
  bool is_bank() const { return shape_.size() == 3; }

  const quantized::Layer& layer_;
  const client::Loader& loader_;
  const std::vector<int64_t> shape_;
  std::vector<Finding>& findings_;
};

/// The rules for one layer of ComfyUI, with or without custom nodes, and of nobody in particular.
/// beside_marked: the file has layers with markers
void check_layer(const CheckedLayer& layer, bool beside_marked);

/// Those for a format's tensors: types, shapes, groups, rotation.
void check_format(const CheckedLayer& layer, const FormatRule& rule);

}  // namespace ctq::verify
