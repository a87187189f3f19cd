// --client: whose rules apply.
#pragma once

#include "ctq/cli/arguments.h"
#include "ctq/client/client.h"

namespace ctq::cli {

/// What the help pages say that --client takes.
inline constexpr std::string_view kClientHelp =
    "comfyui[@VERSION], custom (ComfyUI with nodes for more formats), sd.cpp, forge, diffusers or any";

/// The client that --client names; ComfyUI where it was not given.
/// throws  Error(kUsage) naming the option
client::Client read_client(const Arguments& arguments);

}  // namespace ctq::cli
