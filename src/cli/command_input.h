// What commands share: their input, the device, and a name filter.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/Device.h>

#include "ctq/cli/arguments.h"
#include "ctq/model/checkpoint.h"
#include "ctq/names/renamed_view.h"
#include "ctq/quantized/layers.h"

namespace ctq::cli {

/// A checkpoint with its quantized layers. Not movable: the second refers to the first.
struct OpenedFile {
  explicit OpenedFile(const std::string& path, safetensors::Shard shard = safetensors::Shard::kIsItsSet)
      : checkpoint(model::Checkpoint::open(path, shard)), quantized(quantized::find_layers(checkpoint)) {}
  /// What `converted` may have been made of: under ComfyUI's names where that one has them.
  OpenedFile(const std::string& path, const model::Checkpoint& converted);
  OpenedFile(const OpenedFile&) = delete;
  OpenedFile& operator=(const OpenedFile&) = delete;

  model::Checkpoint checkpoint;
  std::optional<names::RenamedView> renamed;
  quantized::QuantizedFile quantized;  ///< of these names, else of the checkpoint
};

/// The text of an option; throws Error(kUsage) where it was not given.
const std::string& required(const Arguments& arguments, std::string_view option);

/// That of --device; `auto` stays on the CPU, where the data are.
/// throws  Error(kFailure) when it is not there
at::Device device_of(const Arguments& arguments);

/// True for names that the option's pattern is found in; null where it was not given.
/// throws  Error(kUsage) naming the option when the pattern does not compile
std::function<bool(const std::string&)> name_filter(const Arguments& arguments, std::string_view option);

/// "a, b" as {"a", "b"}; spaces around words and empty words are dropped.
std::vector<std::string> comma_list(const std::string& text);

/// --output, or the input's stem with that suffix, checked against the inputs and --no-clobber.
std::string output_for(const Arguments& arguments, const OpenedFile& input, std::string_view suffix);

}  // namespace ctq::cli
