# What is installed, in components: runtime, dev, and chakracore for hosts of the engine.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/jsrtmem")
install(FILES include/jsrt.h include/jsrtmem.h
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT dev)
install(TARGETS jsrtmem EXPORT jsrtmem-shared
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT dev
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT dev
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS jsrtmem_static EXPORT jsrtmem-static
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT dev
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

# ---- CMake: a file for each component of find_package ---------------------------------------------

foreach(component shared static)
    install(EXPORT jsrtmem-${component} NAMESPACE jsrtmem::
        DESTINATION "${package_dir}" COMPONENT dev)
endforeach()
configure_package_config_file(src/jsrtmem-config.cmake.in jsrtmem-config.cmake
    INSTALL_DESTINATION "${package_dir}"
    NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(jsrtmem-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    "${CMAKE_CURRENT_BINARY_DIR}/jsrtmem-config.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/jsrtmem-config-version.cmake"
    DESTINATION "${package_dir}" COMPONENT dev)

# ---- pkg-config -----------------------------------------------------------------------------------

# The prefix is where the file lies, as far up as the folders are deep: it may be installed anywhere.
# But for /usr: pkg-config has to recognise it, to leave out what the compiler searches anyway.
set(pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(JSRTMEM_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
else()
    file(RELATIVE_PATH up "/prefix/${pc_dir}" "/prefix")
    string(REGEX REPLACE "/$" "" up "${up}")
    set(JSRTMEM_PC_PREFIX "\${pcfiledir}/${up}")
endif()
foreach(dir LIBDIR INCLUDEDIR)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
        set(JSRTMEM_PC_${dir} "${CMAKE_INSTALL_${dir}}")
    else()
        set(JSRTMEM_PC_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
    endif()
endforeach()
set(JSRTMEM_PC_LIBS_PRIVATE "${CMAKE_THREAD_LIBS_INIT}")
if(CMAKE_USE_PTHREADS_INIT AND NOT JSRTMEM_PC_LIBS_PRIVATE)
    set(JSRTMEM_PC_LIBS_PRIVATE "-pthread")
endif()
foreach(option IN LISTS static_options)
    string(APPEND JSRTMEM_PC_LIBS_PRIVATE " -Wl,${option}")
endforeach()
configure_file(src/jsrtmem.pc.in jsrtmem.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/jsrtmem.pc" DESTINATION "${pc_dir}" COMPONENT dev)
