// The input whose names are another library's.
#pragma once

#include <optional>

#include "ctq/cli/arguments.h"
#include "ctq/client/client.h"
#include "ctq/model/checkpoint.h"
#include "ctq/names/renamed_view.h"

namespace ctq::cli {

/// Whose names the output has.
enum class Names : unsigned char {
  kComfyUi,  ///< those of ComfyUI's modules, where the input has another library's
  kKept,     ///< the input's
};

/// --names, or what goes with the client.
Names read_names(const Arguments& arguments, const std::optional<client::Client>& client);

/// The checkpoint under ComfyUI's names, and says so; nothing where it has them or they are to be kept. The
/// checkpoint must outlive it.
class RenamedInput {
 public:
  RenamedInput(const model::Checkpoint& checkpoint, Names names);

  /// Null where nothing is renamed.
  const names::RenamedView* view() const { return view_ ? &*view_ : nullptr; }

 private:
  std::optional<names::RenamedView> view_;
};

}  // namespace ctq::cli
