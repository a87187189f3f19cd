# ctq::sanitize: instruments our targets with the sanitizers listed in CTQ_SANITIZE (for example "address,undefined").
set(CTQ_SANITIZE "" CACHE STRING "Sanitizers to build with, as for -fsanitize=")

add_library(ctq_sanitize INTERFACE)
add_library(ctq::sanitize ALIAS ctq_sanitize)
if(CTQ_SANITIZE)
  # vptr needs type information that LibTorch's libraries do not export.
  target_compile_options(ctq_sanitize INTERFACE
    -fsanitize=${CTQ_SANITIZE} -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(ctq_sanitize INTERFACE -fsanitize=${CTQ_SANITIZE} -fno-sanitize=vptr)
endif()
