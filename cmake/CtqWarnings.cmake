# ctq::warnings: the warnings of our own targets. Third-party headers are SYSTEM and stay silent.
option(CTQ_WERROR "Treat warnings as errors" ON)

add_library(ctq_warnings INTERFACE)
add_library(ctq::warnings ALIAS ctq_warnings)
target_compile_options(ctq_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  $<$<BOOL:${CTQ_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms about std::string when optimising (GCC bugs 105329 and 105651).
  target_compile_options(ctq_warnings INTERFACE -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
endif()
