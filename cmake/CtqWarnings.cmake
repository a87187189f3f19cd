# ctq::warnings: the warnings of our own targets. Third-party headers are SYSTEM and stay silent.
option(CTQ_WERROR "Treat warnings as errors" ON)

add_library(ctq_warnings INTERFACE)
add_library(ctq::warnings ALIAS ctq_warnings)
target_compile_options(ctq_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  $<$<BOOL:${CTQ_WERROR}>:-Werror>)
