# The engine for other programs: convert_to_quant::engine, one shared library that holds all rooms below the command line.
#
# It shows what include/ctq declares and hides all else, libraries that it was built with among it, but for LibTorch: that stays a
# library of its own, the one of this build, which is looked for where it was found.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(ctq_library SHARED $<TARGET_OBJECTS:ctq_engine>)
set_target_properties(ctq_library PROPERTIES
  OUTPUT_NAME convert_to_quant VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  EXPORT_NAME engine LINKER_LANGUAGE CXX INSTALL_RPATH_USE_LINK_PATH ON LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/engine.map")
target_link_libraries(ctq_library PRIVATE ctq::engine ctq::sanitize INTERFACE fmt::fmt)
target_link_options(ctq_library PRIVATE "LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/engine.map")
target_compile_features(ctq_library INTERFACE cxx_std_20)

set(package "${CMAKE_INSTALL_LIBDIR}/cmake/convert_to_quant")
file(WRITE "${PROJECT_BINARY_DIR}/package/convert_to_quantConfig.cmake"
  "include(CMakeFindDependencyMacro)\nfind_dependency(fmt 9)\ninclude(\"\${CMAKE_CURRENT_LIST_DIR}/convert_to_quantTargets.cmake\")\n")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/convert_to_quantConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/convert_to_quantConfig.cmake"
              "${PROJECT_BINARY_DIR}/package/convert_to_quantConfigVersion.cmake"
        DESTINATION "${package}" COMPONENT library)
install(TARGETS ctq_library EXPORT convert_to_quantTargets
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library
        INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT convert_to_quantTargets NAMESPACE convert_to_quant:: DESTINATION "${package}" COMPONENT library)
# In place of the header that stands for it there.
install(FILES "${PROJECT_SOURCE_DIR}/src/base/error.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/ctq" COMPONENT library)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/ctq/engine" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/ctq" COMPONENT library)
