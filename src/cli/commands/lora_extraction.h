// What is said of an adapter that was extracted.
#pragma once

#include <string>
#include <vector>

#include "lora/extract.h"

namespace ctq::cli {

/// Per layer what is left of the error.
void print_extracted(const std::vector<lora::Extracted>& layers, const std::string& output);

}  // namespace ctq::cli
