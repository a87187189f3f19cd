// The formats: a file that defines its rows, and their names in registry.cpp.
#pragma once

#include "format/codec.h"

namespace ctq::format {

extern const Codec kFloat8E4M3, kFloat8E5M2, kFloat8Rows, kFloat8Blocks, kFloat8Blocks3d;  // fp8.cpp
extern const Codec kInt8Tensor, kInt8Rows, kInt8Axis, kInt8Blocks;                         // int8.cpp
extern const Codec kNvfp4;
extern const Codec kMxfp8, kHybridMxfp8;
extern const Codec kConvrotW4a4;
extern const Codec kAsymW4a8;
extern const Codec kAwqW4a16;
extern const Codec kQuipHadamard;
extern const Codec kLogScale;

}  // namespace ctq::format
