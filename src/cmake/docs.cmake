# The target docs builds the reference, if doxygen is there; with pictures, if graphviz is. The man
# pages are written by hand and installed as they are.

find_program(JSRTMEM_DOXYGEN doxygen)
find_program(JSRTMEM_DOT_PROGRAM dot)
mark_as_advanced(JSRTMEM_DOXYGEN JSRTMEM_DOT_PROGRAM)
set(JSRTMEM_DOT NO)
set(JSRTMEM_DOT_SECTION "")
if(JSRTMEM_DOT_PROGRAM)
    set(JSRTMEM_DOT YES)
    set(JSRTMEM_DOT_SECTION dot)
endif()
if(JSRTMEM_DOXYGEN)
    configure_file(src/Doxyfile.in Doxyfile @ONLY)
    add_custom_target(docs
        COMMAND "${JSRTMEM_DOXYGEN}" "${CMAKE_CURRENT_BINARY_DIR}/Doxyfile"
        COMMENT "Building the reference in docs/html"
        VERBATIM)
endif()

# A page is found under each of its names.
file(GLOB pages CONFIGURE_DEPENDS src/man/*.3)
set(page_links)
foreach(page ${pages})
    get_filename_component(file "${page}" NAME)
    file(STRINGS "${page}" names REGEX "^\\.Nm [A-Za-z_]")
    foreach(name ${names})
        string(REGEX REPLACE "^\\.Nm ([A-Za-z_]+).*" "\\1.3" name "${name}")
        set(link "${CMAKE_CURRENT_BINARY_DIR}/man/${name}")
        if(NOT name STREQUAL file AND NOT link IN_LIST page_links)
            file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/man")
            file(CREATE_LINK "${file}" "${link}" SYMBOLIC)
            list(APPEND page_links "${link}")
        endif()
    endforeach()
endforeach()
install(FILES ${pages} ${page_links} DESTINATION "${CMAKE_INSTALL_MANDIR}/man3" COMPONENT dev)
