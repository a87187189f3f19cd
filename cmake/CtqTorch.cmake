# ctq::torch: LibTorch for our targets, and ctq_pch, the precompiled ATen header they share.
#
# LibTorch's include path carries its own fmt, newer than the one the system's spdlog was built with. A folder that holds one link,
# fmt -> the system's headers, goes in front of it.
find_package(LibTorch 2.11 REQUIRED)
find_package(fmt 9 REQUIRED)

get_target_property(_fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
list(GET _fmt_include 0 _fmt_include)
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/fmt-first")
file(CREATE_LINK "${_fmt_include}/fmt" "${PROJECT_BINARY_DIR}/fmt-first/fmt" SYMBOLIC)

add_library(ctq_torch INTERFACE)
add_library(ctq::torch ALIAS ctq_torch)
target_include_directories(ctq_torch SYSTEM BEFORE INTERFACE "${PROJECT_BINARY_DIR}/fmt-first")
target_link_libraries(ctq_torch INTERFACE LibTorch::cpu)
# at::parallel_for is a template in LibTorch's headers, and serial in code that is compiled without OpenMP. The run-time library is
# LibTorch's own libgomp: it has the system's soname and its folder comes first.
target_compile_options(ctq_torch INTERFACE -fopenmp)
target_link_options(ctq_torch INTERFACE -fopenmp)
target_compile_definitions(ctq_torch INTERFACE CTQ_TORCH_LIBRARY_DIR="${LibTorch_ROOT_DIR}/lib")

file(WRITE "${PROJECT_BINARY_DIR}/ctq_pch.cpp" "// Compiled once; every target that uses ATen reuses its precompiled header.\n")
add_library(ctq_pch STATIC "${PROJECT_BINARY_DIR}/ctq_pch.cpp")
target_link_libraries(ctq_pch PUBLIC ctq::torch fmt::fmt PRIVATE ctq::warnings ctq::sanitize)
target_precompile_headers(ctq_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h> <fmt/format.h>)
