// What commands share: their input, the device, and a name filter.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <c10/core/Device.h>

#include "ctq/cli/arguments.h"
#include "ctq/engine/opened_file.h"

namespace ctq::cli {

/// The text of an option; throws Error(kUsage) where it was not given.
const std::string& required(const Arguments& arguments, std::string_view option);

/// That of --device; `auto` stays on the CPU, where the data are.
/// throws  Error(kFailure) when it is not there
at::Device device_of(const Arguments& arguments);

/// True for names that the option's pattern is found in; null where it was not given.
/// throws  Error(kUsage) naming the option when the pattern does not compile
std::function<bool(const std::string&)> name_filter(const Arguments& arguments, std::string_view option);

/// --output, or the input's stem with that suffix, checked against the inputs and --no-clobber.
std::string output_for(const Arguments& arguments, const engine::OpenedFile& input, std::string_view suffix);

}  // namespace ctq::cli
