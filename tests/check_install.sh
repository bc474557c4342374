#!/bin/sh
# Installs a build into a scratch prefix and builds tests/smoke.c against it as a host would: with
# pkg-config, shared and static, and with CMake's find_package; then runs the programs. Also builds the
# library as part of another CMake project.
# usage: check_install.sh SOURCE_DIR BUILD_DIR [CMAKE [CC [CFLAGS [SANITIZE [TOOLCHAIN EMULATOR...]]]]]
# CFLAGS and SANITIZE (-fsanitize=... or empty) are those of the build. TOOLCHAIN (a CMake file) and
# EMULATOR (a command) are those of a build for Windows.
set -u
source_dir=${1:?usage: check_install.sh SOURCE_DIR BUILD_DIR CMAKE...}
build_dir=${2:?usage: check_install.sh SOURCE_DIR BUILD_DIR CMAKE...}
cmake=${3:-cmake}
cc=${4:-cc}
cflags=${5:-}
sanitize=${6:-}
toolchain=${7:-}
if [ $# -gt 7 ]; then shift 7; else set --; fi
emulator= # quoted, for eval
for word in "$@"; do
    emulator="$emulator '$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'"
done

scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-install.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
prefix="$scratch/prefix"

die() {
    echo "install: $*"
    exit 1
}
quietly() { # runs a command, shows its output if it fails
    "$@" >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        die "failed: $*"
    }
}

unset DESTDIR
quietly "$cmake" --install "$build_dir" --prefix "$prefix"
pc=$(find "$prefix" -name jsrtmem.pc)
[ -f "$pc" ] || die "no jsrtmem.pc was installed"
libdir=$(cd "$(dirname "$pc")/.." && pwd)
for file in include/jsrt.h include/jsrtmem.h; do
    [ -f "$prefix/$file" ] || die "$file was not installed"
done
if [ -n "$toolchain" ]; then
    exe=.exe files="../bin/jsrtmem.dll libjsrtmem.dll.a libjsrtmem.a"
else
    exe='' files="libjsrtmem.so libjsrtmem.so.0 libjsrtmem.a"
fi
dlldir=$libdir
[ -z "$exe" ] || dlldir="$prefix/bin"
for file in $files; do
    [ -e "$libdir/$file" ] || die "$file was not installed"
done
[ -z "$(find "$prefix" -name '*.h' ! -name jsrt.h ! -name jsrtmem.h ! -name 'Chakra*.h')" ] ||
    die "other headers were installed too"

version=$(sed -n 's/^#define JSRTMEM_VERSION_[A-Z]* \([0-9]*\)$/\1/p' "$source_dir/include/jsrtmem.h" |
    paste -sd. -)
runs() { # DESCRIPTION PROGRAM [FOLDER of the shared library]
    if [ -n "$exe" ] && [ -n "${3:-}" ]; then
        cp "$3/jsrtmem.dll" "$(dirname "$2")/" || die "$1: there is no DLL in $3"
    fi
    # shellcheck disable=SC2034 # eval uses it
    program=$2$exe
    output=$(
        LD_LIBRARY_PATH=${3:-}
        export LD_LIBRARY_PATH
        eval "$emulator \"\$program\""
    ) || die "$1: $output"
    output=$(printf '%s' "$output" | tr -d '\r')
    case $output in
    *"libjsrtmem $version: ok") echo "install: $1: ok" ;;
    *) die "$1: version $version expected: $output" ;;
    esac
}

# ---- pkg-config ----------------------------------------------------------------------------------

pkgconf=$(command -v pkg-config || command -v pkgconf || true)
if [ -n "$pkgconf" ]; then
    # The prefix is overridden: the build was configured for another one.
    pc() { # PREFIX ARGUMENT...
        at=$1
        shift
        PKG_CONFIG_PATH="$at/${libdir#"$prefix"/}/pkgconfig" \
            "$pkgconf" --define-variable=prefix="$at" "$@" jsrtmem
    }
    found=$(pc "$prefix" --modversion)
    [ "$found" = "$version" ] || die "pkg-config says $found, not $version"
    # shellcheck disable=SC2046,SC2086 # flags are words
    quietly "$cc" $cflags $sanitize "$source_dir/tests/smoke.c" -o "$scratch/shared" \
        $(pc "$prefix" --cflags --libs)
    runs "pkg-config, shared" "$scratch/shared" "$dlldir"
    cp -R "$prefix" "$scratch/static_prefix"
    find "$scratch/static_prefix" \( -name 'libjsrtmem.so*' -o -name '*.dll.a' \) -exec rm {} +
    # shellcheck disable=SC2046,SC2086
    quietly "$cc" $cflags $sanitize "$source_dir/tests/smoke.c" -o "$scratch/static" \
        $(pc "$scratch/static_prefix" --static --cflags --libs)
    runs "pkg-config, static" "$scratch/static"
else
    echo "install: pkg-config is missing: left out"
fi

# ---- CMake ---------------------------------------------------------------------------------------

# Moved after the install, to a path with a space, as users do.
mv "$prefix" "$scratch/moved prefix"
mkdir "$scratch/host" "$scratch/parent"
cp "$source_dir/tests/smoke.c" "$scratch/host/"
cp "$source_dir/tests/smoke.c" "$scratch/parent/"
cat >"$scratch/host/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(host LANGUAGES C)
find_package(jsrtmem ${version%.*} REQUIRED)
add_executable(host_shared smoke.c)
target_link_libraries(host_shared PRIVATE jsrtmem::jsrtmem)
add_executable(host_static smoke.c)
target_link_libraries(host_static PRIVATE jsrtmem::jsrtmem_static)
END
# With a toolchain file only the paths that it names are searched; this adds one.
quietly "$cmake" -S "$scratch/host" -B "$scratch/host/build" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_TOOLCHAIN_FILE="$toolchain" -DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=BOTH \
    -DCMAKE_C_FLAGS="$cflags $sanitize" -DCMAKE_PREFIX_PATH="$scratch/moved prefix" -DCMAKE_BUILD_TYPE=Release
quietly "$cmake" --build "$scratch/host/build"
runs "find_package, shared" "$scratch/host/build/host_shared" "${exe:+$scratch/moved prefix/bin}"
runs "find_package, static" "$scratch/host/build/host_static"

# As part of another project: none of our warnings, options, tests or installs may reach it.
cat >"$scratch/parent/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.22)
project(parent LANGUAGES C)
enable_testing()
add_subdirectory("${JSRTMEM_DIR}" jsrtmem)
add_executable(host smoke.c)
target_link_libraries(host PRIVATE jsrtmem::jsrtmem)
get_target_property(options jsrtmem INTERFACE_COMPILE_OPTIONS)
get_directory_property(tests DIRECTORY "${JSRTMEM_DIR}" TESTS)
if(options OR tests OR CMAKE_BUILD_TYPE)
    message(FATAL_ERROR "leaks: options '${options}' tests '${tests}' type '${CMAKE_BUILD_TYPE}'")
endif()
END
quietly "$cmake" -S "$scratch/parent" -B "$scratch/parent/build" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_TOOLCHAIN_FILE="$toolchain" -DCMAKE_C_FLAGS="$cflags" -DJSRTMEM_DIR="$source_dir"
quietly "$cmake" --build "$scratch/parent/build"
runs "add_subdirectory" "$scratch/parent/build/host" "${exe:+$scratch/parent/build/jsrtmem}"
quietly "$cmake" --install "$scratch/parent/build" --prefix "$scratch/parent/prefix"
[ -z "$(find "$scratch/parent/prefix" -type f 2>/dev/null)" ] || die "a parent's install has our files"
echo "install: all ways of building a host work"
