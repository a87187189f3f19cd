// A file made from another one: most tensors keep their bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/checkpoint.h"
#include "safetensors/header.h"

namespace ctq::rewrite {

/// The header's metadata as a file with other tensors takes it over: without hashes of the content, which is
/// logged.
safetensors::Metadata copied_metadata(const model::Checkpoint& checkpoint);

/// Collects what the file shall hold, then writes it a tensor at a time. The sources must outlive it.
class Output {
 public:
  /// The source's bytes, type and shape, under that name or its own.
  void copy(const model::Checkpoint::Entry& source, std::string name = "");
  /// The same bytes and type in another shape of as many elements.
  void copy_as(const model::Checkpoint::Entry& source, std::string name, std::vector<int64_t> shape);
  /// Bytes that are known already.
  void put(std::string name, safetensors::Dtype dtype, std::vector<int64_t> shape, std::string bytes);
  /// A float32 scalar.
  void put_scalar(std::string name, float value);
  /// A marker: U8, as long as its text.
  void put_text(std::string name, std::string text);
  /// A tensor that is made when its turn comes; it must have that type and shape. `source` tells when: files
  /// are read from front to back.
  void make(std::string name, safetensors::Dtype dtype, std::vector<int64_t> shape,
            const model::Checkpoint::Entry& source, std::function<at::Tensor()> value);

  /// throws  see safetensors::Writer; Error(kInterrupted) after a signal; whatever a maker throws. Nothing is
  /// left of the file then.
  void write(const std::string& path, const safetensors::Metadata& metadata) const;

 private:
  struct Part {
    safetensors::TensorInfo info;
    const model::Checkpoint::Entry* source = nullptr;  ///< copied, or what `value` reads
    std::string bytes;                                 ///< without source
    std::function<at::Tensor()> value;
  };
  std::vector<Part> parts_;
};

}  // namespace ctq::rewrite
