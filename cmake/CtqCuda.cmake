# Kernels for NVIDIA GPUs: CTQ_CUDA is what is wanted (AUTO: where nvcc is found), CTQ_HAS_CUDA what there is.
#
# They know nothing of LibTorch and are linked to CUDA's run time statically, so they are built on machines without a GPU too, and
# the program starts without any CUDA library.
set(CTQ_CUDA AUTO CACHE STRING "Build the GPU's kernels: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE CTQ_CUDA PROPERTY STRINGS AUTO ON OFF)
set(CTQ_HAS_CUDA OFF)
if(CTQ_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    execute_process(COMMAND "${CMAKE_CUDA_COMPILER}" --version OUTPUT_VARIABLE version ERROR_QUIET)
    string(REGEX MATCH "release ([0-9]+[.][0-9]+)" _ "${version}")
    set(version "${CMAKE_MATCH_1}")
  endif()
  if(CMAKE_CUDA_COMPILER AND NOT version VERSION_LESS 12)  # C++20
    # Turing to Blackwell, and PTX for what lies between and comes after.
    set(architectures 75-real 80-real 86-real 89-real 90)
    if(NOT version VERSION_LESS 12.8)
      set(architectures 75-real 80-real 86-real 89-real 90-real 100 120)
    endif()
    set(CMAKE_CUDA_ARCHITECTURES ${architectures} CACHE STRING "GPUs to build kernels for")
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows it of older versions of nvcc alone
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    endif()
    set(CTQ_HAS_CUDA ON)
  elseif(NOT CTQ_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "CTQ_CUDA is ${CTQ_CUDA} and no nvcc of CUDA 12 or later was found: name it with -DCMAKE_CUDA_COMPILER=.../nvcc, or set CTQ_CUDA to OFF")
  else()
    message(STATUS "No nvcc of CUDA 12 or later: the GPU's kernels are not built")
  endif()
endif()
