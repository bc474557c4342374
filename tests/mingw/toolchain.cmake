# Builds for Windows with the MinGW-w64 GCC of Debian, and runs what was built with Wine:
#
#   cmake -S . -B build/windows -DCMAKE_TOOLCHAIN_FILE=tests/mingw/toolchain.cmake
#         [-DJSRTMEM_MINGW_ARCH=i686]
#         [-DCMOCKA_INCLUDE_DIR=.. -DCMOCKA_LIBRARY=..]   a cmocka for Windows, for the tests
#
# The library needs no threads of the compiler's; the tests need pthreads, hence -posix.

set(JSRTMEM_MINGW_ARCH "x86_64" CACHE STRING "x86_64 or i686")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES JSRTMEM_MINGW_ARCH)
set(triple "${JSRTMEM_MINGW_ARCH}-w64-mingw32")

set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR "${JSRTMEM_MINGW_ARCH}")
set(CMAKE_C_COMPILER "${triple}-gcc-posix")
set(CMAKE_CXX_COMPILER "${triple}-g++-posix")
set(CMAKE_RC_COMPILER "${triple}-windres")

# Headers and libraries of the machine that builds are not for Windows.
set(CMAKE_FIND_ROOT_PATH "/usr/${triple}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
if(NOT CMAKE_FIND_ROOT_PATH_MODE_PACKAGE)
    set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
endif()

set(CMAKE_CROSSCOMPILING_EMULATOR
    sh "${CMAKE_CURRENT_LIST_DIR}/wine.sh" "${CMAKE_BINARY_DIR}/../wine" "${CMAKE_C_COMPILER}")
