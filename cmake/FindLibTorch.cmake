# Finds LibTorch's headers and its CPU libraries without running LibTorch's own CMake package.
#
# That package wants a complete CUDA toolkit as soon as LibTorch was built for CUDA, and probes for a GPU. We link the CPU
# libraries only (the CUDA ones are loaded at run time, when a GPU is asked for), so headers and two libraries are all it takes.
#
# The first of these that holds a version in the wanted range wins: LibTorch_ROOT; Torch_DIR and CMAKE_PREFIX_PATH, as LibTorch's
# own package reads them; the active Python; the per-user cache that scripts/setup fills.
#
# Defines LibTorch::cpu, LibTorch_ROOT_DIR, LibTorch_VERSION.
set(_candidates ${LibTorch_ROOT_DIR} ${LibTorch_ROOT} $ENV{LibTorch_ROOT})
foreach(_dir IN ITEMS ${Torch_DIR} $ENV{Torch_DIR})
  list(APPEND _candidates "${_dir}/../../..")  # <torch>/share/cmake/Torch
endforeach()
string(REPLACE ":" ";" _prefixes "$ENV{CMAKE_PREFIX_PATH}")
foreach(_dir IN LISTS CMAKE_PREFIX_PATH _prefixes)
  list(APPEND _candidates "${_dir}" "${_dir}/../..")  # <torch>, <torch>/share/cmake
endforeach()
if(NOT LibTorch_ROOT_DIR)
  find_program(LibTorch_PYTHON NAMES python3 python)
  if(LibTorch_PYTHON)
    execute_process(
      COMMAND "${LibTorch_PYTHON}" -c
              "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
      OUTPUT_VARIABLE _active OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    list(APPEND _candidates ${_active})
  endif()
  file(GLOB _cached "$ENV{HOME}/.cache/convert_to_quant/torch-*/lib/python3*/site-packages/torch")
  list(APPEND _candidates ${_cached})
endif()

set(_root "")
set(_seen "")
foreach(_dir IN LISTS _candidates)
  if(NOT EXISTS "${_dir}/include/torch/headeronly/version.h" OR NOT EXISTS "${_dir}/lib")
    continue()
  endif()
  file(STRINGS "${_dir}/include/torch/headeronly/version.h" _lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9]*([0-9]+)[^0-9]*" "\\1." _version "${_lines}")
  string(REGEX MATCH "^[0-9]+\\.[0-9]+\\.[0-9]+" _version "${_version}")
  list(APPEND _seen "${_version} in ${_dir}")
  if(NOT LibTorch_FIND_VERSION OR _version VERSION_GREATER_EQUAL LibTorch_FIND_VERSION)
    get_filename_component(_root "${_dir}" ABSOLUTE)
    set(LibTorch_VERSION "${_version}")
    break()
  endif()
endforeach()
set(LibTorch_ROOT_DIR "${_root}" CACHE PATH "The folder that holds LibTorch's include/ATen and lib" FORCE)
find_library(LibTorch_CPU_LIBRARY torch_cpu HINTS "${_root}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY c10 HINTS "${_root}/lib" NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup, or point LibTorch_ROOT at a LibTorch (seen: ${_seen})")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  target_include_directories(LibTorch::cpu SYSTEM INTERFACE
    "${LibTorch_ROOT_DIR}/include" "${LibTorch_ROOT_DIR}/include/torch/csrc/api/include")
  target_link_libraries(LibTorch::cpu INTERFACE "${LibTorch_CPU_LIBRARY}" "${LibTorch_C10_LIBRARY}")
endif()
mark_as_advanced(LibTorch_ROOT_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_PYTHON)
