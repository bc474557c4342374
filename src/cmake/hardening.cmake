# What the compiler and the linker add against errors of our own: in optimised builds, and each thing
# only where compiler, linker and machine have it. The functions that allocate and free on the fast
# path keep no arrays and pass no addresses of locals, so no guard is put into them.

include(CheckCSourceCompiles)
include(CheckCCompilerFlag)

set(hardening_configs "$<CONFIG:Release,RelWithDebInfo,MinSizeRel>")

function(jm_harden_compile flag)
    string(MAKE_C_IDENTIFIER "JSRTMEM_HAVE${flag}" have)
    set(CMAKE_REQUIRED_FLAGS "-Werror")
    set(CMAKE_REQUIRED_QUIET ON)
    check_c_compiler_flag(${flag} ${have})
    if(${have})
        target_compile_options(jsrtmem_objects PRIVATE $<${hardening_configs}:${flag}>)
    endif()
    set(have ${${have}} PARENT_SCOPE)
endfunction()

function(jm_harden_link flag) # as LINKER: wants it, commas between words
    string(MAKE_C_IDENTIFIER "JSRTMEM_HAVE_LD_${flag}" have)
    set(CMAKE_REQUIRED_LINK_OPTIONS "LINKER:${flag}" LINKER:--fatal-warnings)
    set(CMAKE_REQUIRED_QUIET ON)
    check_c_source_compiles("int main(void) { return 0; }" ${have})
    if(${have})
        target_link_options(jsrtmem PRIVATE $<${hardening_configs}:LINKER:${flag}>)
    endif()
endfunction()

# Checked functions of libc. Who builds us with a level of their own keeps it.
function(jm_harden_libc)
    get_directory_property(options COMPILE_OPTIONS)
    get_directory_property(definitions COMPILE_DEFINITIONS)
    string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
    if("${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${type}} ${options} ${definitions}" MATCHES "_FORTIFY_SOURCE")
        return()
    endif()
    set(CMAKE_REQUIRED_QUIET ON)
    foreach(level 3 2)
        # Some compilers set a level by themselves, hence -U.
        set(CMAKE_REQUIRED_FLAGS "-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${level}")
        check_c_source_compiles("
            #include <stdio.h>
            #if __USE_FORTIFY_LEVEL != ${level}
            #error this libc or compiler does not know the level
            #endif
            int main(void) { return 0; }" JSRTMEM_HAVE_FORTIFY_${level})
        if(JSRTMEM_HAVE_FORTIFY_${level})
            target_compile_options(jsrtmem_objects PRIVATE
                $<${hardening_configs}:-U_FORTIFY_SOURCE>
                $<${hardening_configs}:-D_FORTIFY_SOURCE=${level}>)
            return()
        endif()
    endforeach()
endfunction()

# Linux keeps shadow stacks for programs. It does not check that their jumps end at marks, and the marks
# would take up to 5 % of the time of a small object. Who builds us with a choice of their own keeps it.
function(jm_harden_shadow_stack)
    get_directory_property(options COMPILE_OPTIONS)
    string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
    if("${CMAKE_C_FLAGS} ${CMAKE_C_FLAGS_${type}} ${options}" MATCHES "-fcf-protection"
       OR NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
        return()
    endif()
    jm_harden_compile(-fcf-protection=return)
    if(have AND elf)
        jm_harden_link(-z,shstk)
    endif()
endfunction()

if(WIN32)
    # The guards of MinGW's compilers need a DLL of their own. These are marks that the loader reads.
    foreach(flag --nxcompat --dynamicbase --high-entropy-va)
        jm_harden_link(${flag})
    endforeach()
    return()
endif()

jm_harden_libc()
jm_harden_compile(-fstack-protector-strong)
jm_harden_compile(-fstack-clash-protection)
jm_harden_shadow_stack()
if(elf)
    foreach(flag -z,relro -z,now -z,noexecstack)
        jm_harden_link(${flag})
    endforeach()
endif()
