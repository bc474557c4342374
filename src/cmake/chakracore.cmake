# For hosts that were written for ChakraCore: its header names, in a folder of their own, and its
# library name, as a link in a folder of its own. Nobody finds them who does not ask.

add_library(jsrtmem_chakracore INTERFACE)
add_library(jsrtmem::chakracore ALIAS jsrtmem_chakracore)
target_include_directories(jsrtmem_chakracore INTERFACE
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include/compat>)
target_link_libraries(jsrtmem_chakracore INTERFACE jsrtmem)
set_target_properties(jsrtmem_chakracore PROPERTIES EXPORT_NAME chakracore)

if(NOT PROJECT_IS_TOP_LEVEL)
    return()
endif()

install(FILES include/compat/ChakraCommon.h include/compat/ChakraCore.h
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/jsrtmem-compat" COMPONENT chakracore)
install(TARGETS jsrtmem_chakracore EXPORT jsrtmem-chakracore
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/jsrtmem-compat")
install(EXPORT jsrtmem-chakracore NAMESPACE jsrtmem::
    DESTINATION "${package_dir}" COMPONENT chakracore)
configure_file(src/jsrtmem-chakracore.pc.in jsrtmem-chakracore.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/jsrtmem-chakracore.pc"
    DESTINATION "${pc_dir}" COMPONENT chakracore)

if(UNIX)
    set(suffix ${CMAKE_SHARED_LIBRARY_SUFFIX})
    set(target "libjsrtmem${suffix}.${PROJECT_VERSION_MAJOR}")
    if(APPLE)
        set(target "libjsrtmem.${PROJECT_VERSION_MAJOR}${suffix}")
    endif()
    set(link "${CMAKE_CURRENT_BINARY_DIR}/jsrtmem-chakracore/libChakraCore${suffix}")
    file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/jsrtmem-chakracore")
    file(CREATE_LINK "../${target}" "${link}" SYMBOLIC)
    install(FILES "${link}"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/jsrtmem-chakracore" COMPONENT chakracore)
endif()
