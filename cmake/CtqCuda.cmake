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
    # Turing to Blackwell, and PTX for what comes after it.
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 100-real 120 CACHE STRING "GPUs to build kernels for")
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows it of older versions of nvcc alone
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    endif()
    set(CTQ_HAS_CUDA ON)
  elseif(NOT CTQ_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "CTQ_CUDA is ${CTQ_CUDA} and nvcc was not found: name it with -DCMAKE_CUDA_COMPILER=.../nvcc, or set CTQ_CUDA to OFF")
  endif()
endif()
