#!/bin/sh
# Builds and runs hosts that were written for ChakraCore, with what was installed for them.
# usage: chakracore.sh WAY SOURCE_DIR BUILD_DIR WORK_DIR
# WAY is one of the way_* below; the rest is in common.sh.
set -u
# shellcheck source=tests/consume/common.sh
. "$(dirname "$0")/../common.sh"
here="$source_dir/tests/consume/chakracore"
find_libdir
linkdir="$libdir/jsrtmem-chakracore" # where libChakraCore.so is

needs_chakracore() { readelf -d "$1" | grep -q 'NEEDED.*libChakraCore'; }
needs_pkgconf() { [ -n "$pkgconf" ] || not_run "pkg-config missing"; }
of_pc() { # PKG_CONFIG_ARGUMENT...
    PKG_CONFIG_PATH="$libdir/pkgconfig" "$pkgconf" "$@" jsrtmem-chakracore
}
# As in way_cc of consume.sh: our own headers and library are found without being named.
cc() { # ARGUMENT...
    # shellcheck disable=SC2086 # flags are words
    CPATH="$installed/include" LIBRARY_PATH="$libdir" "$CC" $CFLAGS $LDFLAGS "$@"
}

# Nobody finds it who does not ask.
way_opt_in() {
    [ -z "$(find "$libdir" -maxdepth 1 ! -type d -iname '*chakra*')" ] ||
        die "it lies beside our library"
    [ -z "$(find "$installed/include" -maxdepth 1 -iname '*chakra*.h')" ] ||
        die "it lies beside our headers"
    refused "ChakraCore.h" cc -c "$here/client.c" -o "$scratch/client.o"
    refused "-lChakraCore" cc "$smoke" -o "$scratch/smoke" -lChakraCore
    rm -rf "$scratch/alone"
    quietly "$CMAKE" --install "$build_dir" --prefix "$scratch/alone" --component chakracore
    found=$(cd "$scratch/alone" && find . ! -type d | sed 's|.*/||' | sort | paste -sd' ' -)
    [ "$found" = "ChakraCommon.h ChakraCore.h jsrtmem-chakracore.cmake jsrtmem-chakracore.pc \
libChakraCore.so" ] || die "component chakracore has: $found"
    echo "consume: chakracore: opt-in"
}

way_c() {
    needs_pkgconf
    eval "quietly cc \"\$here/client.c\" -o \"\$scratch/client\" $(of_pc --cflags --libs)"
    is_shared "$scratch/client"
    runs "C, pkg-config jsrtmem-chakracore" "$scratch/client" "$libdir"
}

way_cxx() {
    [ -n "$CXX" ] || not_run "C++ compiler missing"
    needs_pkgconf
    # shellcheck disable=SC2086
    eval "quietly \"\$CXX\" $CXXFLAGS \"\$here/client.cpp\" -o \"\$scratch/client\" \
        $(of_pc --cflags --libs) $LDFLAGS"
    runs "C++, pkg-config jsrtmem-chakracore" "$scratch/client" "$libdir"
}

# A host whose build says -lChakraCore, and is only told where to look.
way_link() {
    include="$installed/include/jsrtmem-compat"
    quietly cc -I"$include" "$here/client.c" -o "$scratch/client" -L"$linkdir" -lChakraCore
    if needs_chakracore "$scratch/client"; then die "the program needs a library of that name"; fi
    is_shared "$scratch/client"
    runs "C, -lChakraCore" "$scratch/client" "$libdir"
    refused "undefined reference to" \
        cc -I"$include" "$here/script_host.c" -o "$scratch/script_host" -L"$linkdir" -lChakraCore
    grep -q JsRunScript "$scratch/log" || die "the function that is missing was not named"
}

# A program that was linked with the engine itself, for which something of its name stands in.
way_linked() {
    mkdir -p "$scratch/engine"
    readelf --dyn-syms -W "$libdir/libjsrtmem.so" |
        sed -n 's/.* FUNC .* \(Js[A-Za-z]*\|jsrtmem_[a-z_]*\)@@.*/int \1(void); int \1(void) { return 1; }/p' \
            >"$scratch/engine.c"
    [ "$(wc -l <"$scratch/engine.c")" -gt 30 ] || die "no functions were found"
    quietly cc -shared -fPIC "$scratch/engine.c" \
        -Wl,-soname,libChakraCore.so -o "$scratch/engine/libChakraCore.so"
    quietly cc -I"$installed/include/jsrtmem-compat" "$here/client.c" -o "$scratch/client" \
        -L"$scratch/engine" -lChakraCore
    needs_chakracore "$scratch/client" || die "the program does not need the engine"
    runs "C, linked with the engine before" "$scratch/client" "$linkdir"
}

way_dlopen() {
    quietly cc -I"$installed/include/jsrtmem-compat" "$here/dlopen.c" -o "$scratch/dlopen" -ldl
    if needs_us "$scratch/dlopen"; then die "the program is linked with us"; fi
    runs "C, dlopen" "$scratch/dlopen" "$linkdir"
}

# An interpreter has to be of the library's kind.
same_bits() { # NAME BITS
    readelf -h "$libdir/libjsrtmem.so" | grep -q "Class: *ELF$2" ||
        not_run "$1 of the library's architecture missing"
    case $LDFLAGS in
    *-fsanitize*) not_run "$1 built with the sanitizer missing" ;;
    esac
}

way_python() {
    command -v python3 >/dev/null || not_run "python3 missing"
    same_bits python3 "$(python3 -c 'import struct; print(8 * struct.calcsize("P"))')"
    printf '#!/bin/sh\nexec python3 "%s"\n' "$here/client.py" >"$scratch/client"
    chmod +x "$scratch/client"
    runs "Python, ctypes" "$scratch/client" "$linkdir"
}

way_node() {
    command -v node >/dev/null || not_run "node missing"
    case $(node -p process.arch) in
    x64 | arm64 | ppc64 | s390x | riscv64 | loong64) same_bits node 64 ;;
    *) same_bits node 32 ;;
    esac
    KOFFI_DIR="$work/koffi" # kept: fetched once
    export KOFFI_DIR
    if [ ! -d "$KOFFI_DIR/node_modules/koffi" ]; then
        command -v npm >/dev/null || not_run "npm missing, and so koffi"
        mkdir -p "$KOFFI_DIR"
        npm install --prefix "$KOFFI_DIR" --ignore-scripts --no-audit --no-fund \
            --fetch-retries=0 --fetch-timeout=30000 koffi@3 >"$scratch/log" 2>&1 || {
            rm -rf "$KOFFI_DIR"
            tail -n 5 "$scratch/log"
            not_run "koffi missing: npm could not fetch it"
        }
    fi
    printf '#!/bin/sh\nexec node "%s"\n' "$here/client.mjs" >"$scratch/client"
    chmod +x "$scratch/client"
    runs "Node, koffi" "$scratch/client" "$linkdir"
}

way_cmake() {
    quietly "$CMAKE" -S "$source_dir/tests/consume/find_package" -B "$scratch/build" \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$installed" -DSMOKE="$here/client.c" \
        "-DASK=REQUIRED;COMPONENTS;chakracore" -DLINK=chakracore
    quietly "$CMAKE" --build "$scratch/build"
    runs "CMake, jsrtmem::chakracore" "$scratch/build/host_chakracore"
}

case $way in
opt_in | c | cxx | link | linked | dlopen | python | node | cmake) "way_$way" ;;
*) die "unknown way; $usage" ;;
esac
