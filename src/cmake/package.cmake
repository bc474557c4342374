# cpack: -G DEB makes a package of each component, -G TGZ one archive of all.

set(CPACK_PACKAGE_NAME "lib${PROJECT_NAME}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each package has its own
set(CPACK_PACKAGE_VENDOR "The libjsrtmem authors")
set(CPACK_PACKAGE_CONTACT "The libjsrtmem authors <libjsrtmem@users.noreply.github.com>")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_RESOURCE_FILE_README "${PROJECT_SOURCE_DIR}/README.md")
set(CPACK_COMPONENTS_ALL runtime dev chakracore)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
if(UNIX)
    set(CPACK_GENERATOR TGZ)
else()
    set(CPACK_GENERATOR ZIP)
endif()

# ---- Debian ---------------------------------------------------------------------------------------

set(debian_runtime "lib${PROJECT_NAME}${PROJECT_VERSION_MAJOR}")
set(debian_dev "lib${PROJECT_NAME}-dev")
set(debian_chakracore "lib${PROJECT_NAME}-chakracore-dev")
set(debian_same "(= ${PROJECT_VERSION}-1)")
set(debian_about
"A runtime is an account for memory: the library counts exactly what it holds
from the OS, keeps it under a limit, and asks the host before each block is
taken. The interface is the memory side of the JSRT hosting API.")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SOURCE "lib${PROJECT_NAME}")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME "${debian_runtime}")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    "${PROJECT_SOURCE_DIR}/src/debian/triggers;${PROJECT_SOURCE_DIR}/src/debian/symbols")
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION
    "memory accounts behind the JSRT API - shared library\n${debian_about}")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME "${debian_dev}")
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "${debian_runtime} ${debian_same}")
set(CPACK_DEBIAN_DEV_DESCRIPTION
    "memory accounts behind the JSRT API - development files\n${debian_about}
.
These are the headers, the static library, and what CMake and pkg-config need.")

set(CPACK_DEBIAN_CHAKRACORE_PACKAGE_NAME "${debian_chakracore}")
set(CPACK_DEBIAN_CHAKRACORE_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_CHAKRACORE_PACKAGE_DEPENDS
    "${debian_dev} ${debian_same}, ${debian_runtime} ${debian_same}")
set(CPACK_DEBIAN_CHAKRACORE_DESCRIPTION
    "memory accounts behind the JSRT API - for hosts of ChakraCore\n${debian_about}
.
These are the header names and the library name of ChakraCore, in folders of
their own, for hosts that keep to its memory API.")

# Read by cpack: configures a build for /usr, adds what Debian wants to have, finishes the packages.
foreach(script prepare stage finish)
    configure_file(src/debian/${script}.cmake.in debian-${script}.cmake @ONLY)
endforeach()
set(CPACK_PROJECT_CONFIG_FILE "${CMAKE_CURRENT_BINARY_DIR}/debian-prepare.cmake")

include(CPack)
