# The program, its man page and the shells' completions, the latter printed by the program itself from its option table.
include(GNUInstallDirs)

# It finds LibTorch where it was found for the build.
set_target_properties(convert_to_quant PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS convert_to_quant RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# ctq_install_page(FORM FILE FOLDER): what `completion FORM` prints, as FOLDER/FILE.
function(ctq_install_page form file folder)
  set(page "${PROJECT_BINARY_DIR}/pages/${form}/${file}")
  install(CODE "
    file(MAKE_DIRECTORY \"${PROJECT_BINARY_DIR}/pages/${form}\")
    execute_process(COMMAND \"$<TARGET_FILE:convert_to_quant>\" completion ${form} OUTPUT_FILE \"${page}\" COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES "${page}" DESTINATION "${folder}")
endfunction()

ctq_install_page(man convert_to_quant.1 "${CMAKE_INSTALL_MANDIR}/man1")
ctq_install_page(bash convert_to_quant "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
ctq_install_page(zsh _convert_to_quant "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
ctq_install_page(fish convert_to_quant.fish "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
