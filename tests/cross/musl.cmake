# Another libc on this machine (Debian: musl-tools). It comes without a C++ library.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_HOST_SYSTEM_PROCESSOR})
set(CMAKE_C_COMPILER musl-gcc)
set(CMAKE_CXX_COMPILER "")
# The compiler's code for unwinding asks glibc for something that musl does not have. No program in C
# unwinds, so it will do that the name is there, at an address that is not null, for which musl looks on.
foreach(kind EXE SHARED MODULE)
    set(CMAKE_${kind}_LINKER_FLAGS_INIT "-Wl,--defsym=_dl_find_object=1")
endforeach()
