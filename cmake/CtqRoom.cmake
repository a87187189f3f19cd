# ctq_room(NAME [DOOR header...] [DEPENDS room...] [LINKS target...] [TORCH]): the static library ctq::NAME from src/NAME/**.cpp.
#
# DOOR names the headers of src/NAME that other rooms may include, DEPENDS the rooms whose doors it may include itself; the test
# `layering` compares that with the #include lines. What is under include/ctq/NAME is of the door too. LINKS names third-party
# targets. TORCH marks a room that uses ATen.
set_property(GLOBAL PROPERTY CTQ_ROOMS "")

function(ctq_room name)
  cmake_parse_arguments(ARG "TORCH" "" "DOOR;DEPENDS;LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/(main|passive_waiting)\\.cpp$")  # of the executable
  list(FILTER sources EXCLUDE REGEX "\\.simd\\.cpp$")  # compiled once per instruction set by their own CMakeLists.txt

  add_library(ctq_${name} STATIC ${sources})
  add_library(ctq::${name} ALIAS ctq_${name})
  target_include_directories(ctq_${name}
    PUBLIC "${PROJECT_SOURCE_DIR}/include"
    PRIVATE "${PROJECT_SOURCE_DIR}/src")
  list(TRANSFORM ARG_DEPENDS PREPEND ctq::)
  target_link_libraries(ctq_${name} PUBLIC ${ARG_DEPENDS} fmt::fmt ${ARG_LINKS} PRIVATE ctq::warnings ctq::sanitize)
  if(ARG_TORCH)
    target_link_libraries(ctq_${name} PUBLIC ctq::torch)
    target_precompile_headers(ctq_${name} REUSE_FROM ctq_pch)
  endif()

  list(TRANSFORM ARG_DEPENDS REPLACE "^ctq::" "")
  list(JOIN ARG_DEPENDS "," depends)
  list(JOIN ARG_DOOR "," door)
  set_property(GLOBAL APPEND PROPERTY CTQ_ROOMS "${name}:${depends}:${door}")
endfunction()

# ctq_room_test(NAME [DEPENDS room...] [TORCH]): the test program of a room from tests/NAME/*.cpp, one ctest case per test case.
function(ctq_room_test name)
  cmake_parse_arguments(ARG "TORCH" "" "DEPENDS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp")
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_include_directories(${name}_test PRIVATE "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/src")
  target_compile_definitions(${name}_test PRIVATE
    CTQ_TEST_GOLDEN="${PROJECT_SOURCE_DIR}/tests/golden"
    CTQ_BINARY="$<TARGET_FILE:convert_to_quant>"
    CTQ_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name}_test PRIVATE ctq_test_main)
  if(TARGET ctq::${name})
    target_link_libraries(${name}_test PRIVATE ctq::${name})
  endif()
  foreach(room IN LISTS ARG_DEPENDS)
    target_link_libraries(${name}_test PRIVATE ctq::${room})
  endforeach()
  # Half of a test's compile time is Catch2's header, and a quarter its optimisation, which buys tests nothing.
  target_compile_options(${name}_test PRIVATE ${ctq_test_options})
  if(ARG_TORCH)
    target_precompile_headers(${name}_test REUSE_FROM ctq_test_pch)
  endif()
  target_link_libraries(${name}_test PRIVATE ctq::warnings ctq::sanitize)
  catch_discover_tests(${name}_test TEST_PREFIX "${name}: " PROPERTIES SKIP_REGULAR_EXPRESSION "\\[skipped\\]")
endfunction()
