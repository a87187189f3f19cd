// This process's memory, as the kernel counts it.
#pragma once

#include <cstdint>

namespace ctq::pipeline {

/// Resident memory that is not backed by a file: neither the mapped input nor program code. 0 where /proc
/// does not tell.
uint64_t resident_bytes();

}  // namespace ctq::pipeline
