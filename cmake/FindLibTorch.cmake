# Finds LibTorch's headers and its CPU libraries without running LibTorch's own CMake package.
#
# That package wants a complete CUDA toolkit as soon as LibTorch was built for CUDA, and probes for a GPU. We link the CPU
# libraries only (the CUDA ones are loaded at run time, when a GPU is asked for), so headers and two libraries are all it takes.
#
# Looked for in this order: LibTorch_ROOT; Torch_DIR and CMAKE_PREFIX_PATH as LibTorch's own package would; the active Python;
# the per-user cache that scripts/setup fills (~/.cache/convert_to_quant).
#
# Defines LibTorch::cpu, LibTorch_INCLUDE_DIR, LibTorch_LIBRARY_DIR, LibTorch_VERSION.
set(_hints ${LibTorch_ROOT} $ENV{LibTorch_ROOT})
foreach(_dir IN ITEMS ${Torch_DIR} $ENV{Torch_DIR})
  list(APPEND _hints "${_dir}/../../..")  # <torch>/share/cmake/Torch
endforeach()
foreach(_dir IN ITEMS ${CMAKE_PREFIX_PATH} $ENV{CMAKE_PREFIX_PATH})
  list(APPEND _hints "${_dir}" "${_dir}/../..")  # <torch> or <torch>/share/cmake
endforeach()

if(NOT LibTorch_INCLUDE_DIR)
  find_program(_python NAMES python3 python)
  if(_python)
    execute_process(
      COMMAND "${_python}" -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
      OUTPUT_VARIABLE _active OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    list(APPEND _hints ${_active})
  endif()
  file(GLOB _cached "$ENV{HOME}/.cache/convert_to_quant/torch-*/lib/python3*/site-packages/torch")
  list(APPEND _hints ${_cached})
endif()

find_path(LibTorch_INCLUDE_DIR ATen/ATen.h HINTS ${_hints} PATH_SUFFIXES include NO_DEFAULT_PATH)
find_path(LibTorch_INCLUDE_DIR ATen/ATen.h PATH_SUFFIXES include)
get_filename_component(_root "${LibTorch_INCLUDE_DIR}" DIRECTORY)
find_library(LibTorch_CPU_LIBRARY torch_cpu HINTS "${_root}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY c10 HINTS "${_root}/lib" NO_DEFAULT_PATH)
get_filename_component(LibTorch_LIBRARY_DIR "${LibTorch_CPU_LIBRARY}" DIRECTORY)

if(EXISTS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h")
  file(STRINGS "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h" _version REGEX "define TORCH_VERSION \"")
elseif(EXISTS "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include/torch/version.h")
  file(STRINGS "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include/torch/version.h" _version REGEX "define TORCH_VERSION \"")
endif()
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" LibTorch_VERSION "${_version}")

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup, or point LibTorch_ROOT at the folder that holds include/ATen")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  target_include_directories(LibTorch::cpu SYSTEM INTERFACE
    "${LibTorch_INCLUDE_DIR}" "${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  target_link_libraries(LibTorch::cpu INTERFACE "${LibTorch_CPU_LIBRARY}" "${LibTorch_C10_LIBRARY}")
endif()
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)
