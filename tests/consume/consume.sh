#!/bin/sh
# Builds tests/smoke.c like a host that knows only what was installed, or that has the library as part of
# its own build; then runs it.
# usage: consume.sh WAY SOURCE_DIR BUILD_DIR WORK_DIR
# WAY is install, which must come first, or one of the way_* below. See common.sh for the rest.
set -u
# shellcheck source=tests/consume/common.sh
. "$(dirname "$0")/common.sh"

# ---- install -------------------------------------------------------------------------------------

way_install() {
    rm -rf "$installed" "$work/first"
    quietly "$CMAKE" --install "$build_dir" --prefix "$work/first"
    mv "$work/first" "$installed" # nothing of it may depend on where it was put first
    find_libdir
    for file in "$installed/include/jsrt.h" "$installed/include/jsrtmem.h" "$libdir/libjsrtmem.so" \
        "$libdir/libjsrtmem.so.0" "$libdir/libjsrtmem.a" "$libdir/pkgconfig/jsrtmem.pc" \
        "$libdir/cmake/jsrtmem/jsrtmem-config.cmake"; do
        [ -e "$file" ] || die "$file was not installed"
    done
    others=$(find "$installed/include" -maxdepth 1 -name '*.h' ! -name jsrt.h ! -name jsrtmem.h)
    [ -z "$others" ] || die "other headers lie beside ours: $others"
    if grep -rlF -e "$build_dir" -e "$source_dir" -e "$work" "$installed" --include='*.pc' \
        --include='*.cmake' --include='*.h'; then
        die "the files above name a folder of this build"
    fi
    # Each component alone: what a runtime package needs is not in another one.
    quietly "$CMAKE" --install "$build_dir" --prefix "$scratch/runtime" --component runtime
    found=$(cd "$scratch/runtime" && find . ! -type d | sed 's|.*/||' | sort | paste -sd' ' -)
    [ "$found" = "libjsrtmem.so.0 libjsrtmem.so.$version" ] || die "component runtime has: $found"
    echo "consume: $(find "$installed" ! -type d | wc -l) files installed"
}

# ---- by hand -------------------------------------------------------------------------------------

# The variables make the prefix a place that the compiler searches anyway, as it does /usr/local.
by_hand() { # OUTPUT COMMAND...
    output=$1
    shift
    quietly env CPATH="$installed/include" LIBRARY_PATH="$libdir" "$@" -o "$output"
}

# shellcheck disable=SC2086 # flags are words
way_cc() {
    by_hand "$scratch/shared" "$CC" $CFLAGS "$smoke" -ljsrtmem $LDFLAGS
    is_shared "$scratch/shared"
    runs "cc host.c -ljsrtmem" "$scratch/shared" "$libdir"
    by_hand "$scratch/static" "$CC" $CFLAGS "$smoke" "$libdir/libjsrtmem.a" -pthread $LDFLAGS
    is_static "$scratch/static"
    runs "cc host.c libjsrtmem.a -pthread" "$scratch/static"
}

# shellcheck disable=SC2086
way_cxx() {
    [ -n "$CXX" ] || not_run "C++ compiler missing"
    for standard in c++98 c++17; do
        by_hand "$scratch/$standard" "$CXX" $CXXFLAGS -x c++ -std=$standard "$smoke" -x none \
            -ljsrtmem $LDFLAGS
        is_shared "$scratch/$standard"
        runs "c++ -std=$standard host.cpp -ljsrtmem" "$scratch/$standard" "$libdir"
    done
    by_hand "$scratch/static" "$CXX" $CXXFLAGS -x c++ "$smoke" -x none "$libdir/libjsrtmem.a" -pthread \
        $LDFLAGS
    is_static "$scratch/static"
    runs "c++ host.cpp libjsrtmem.a -pthread" "$scratch/static"
}

# ---- pkg-config ----------------------------------------------------------------------------------

# shellcheck disable=SC2046,SC2086 # flags are words
way_pkg_config() {
    [ -n "$pkgconf" ] || not_run "pkg-config missing"
    # Its flags are for the shell, spaces quoted, so eval reads them.
    PKG_CONFIG_PATH="$libdir/pkgconfig"
    export PKG_CONFIG_PATH
    quietly "$pkgconf" --validate jsrtmem
    found=$("$pkgconf" --modversion jsrtmem)
    [ "$found" = "$version" ] || die "pkg-config says $found, not $version"
    quietly "$pkgconf" --exists "jsrtmem >= ${version%.*}"
    refused "99" "$pkgconf" --print-errors --exists "jsrtmem >= 99"
    case $("$pkgconf" --libs jsrtmem) in
    *pthread*) die "--libs has what only --static needs" ;;
    esac
    eval "quietly \"\$CC\" $CFLAGS \"\$smoke\" -o \"\$scratch/shared\" \
        $("$pkgconf" --cflags --libs jsrtmem) $LDFLAGS"
    is_shared "$scratch/shared"
    runs "pkg-config --libs" "$scratch/shared" "$libdir"
    eval "quietly \"\$CC\" $CFLAGS -Wl,--no-as-needed \"\$smoke\" -o \"\$scratch/by_hand\" \
        $("$pkgconf" --cflags jsrtmem) \"\$libdir/libjsrtmem.a\" \
        $("$pkgconf" --static --libs-only-other jsrtmem) $LDFLAGS"
    is_static "$scratch/by_hand"
    runs "libjsrtmem.a, pkg-config --static --libs-only-other" "$scratch/by_hand"
    # Without the shared library, as where only the other one was installed.
    cp -R "$installed" "$scratch/static prefix"
    find "$scratch/static prefix" -name 'libjsrtmem.so*' -exec rm {} +
    PKG_CONFIG_PATH="$scratch/static prefix/${libdir#"$installed"/}/pkgconfig"
    eval "quietly \"\$CC\" $CFLAGS \"\$smoke\" -o \"\$scratch/static\" \
        $("$pkgconf" --static --cflags --libs jsrtmem) $LDFLAGS"
    is_static "$scratch/static"
    runs "pkg-config --static" "$scratch/static"
}

way_meson() {
    command -v meson >/dev/null || not_run "meson missing"
    command -v ninja >/dev/null || not_run "ninja missing"
    [ -n "$pkgconf" ] || not_run "pkg-config missing"
    cp "$here/meson/meson.build" "$smoke" "$scratch/"
    quietly env PKG_CONFIG_PATH="$libdir/pkgconfig" meson setup --buildtype=release "$scratch/build" \
        "$scratch"
    quietly ninja -C "$scratch/build"
    is_shared "$scratch/build/host_shared"
    runs "meson dependency()" "$scratch/build/host_shared" "$libdir"
    is_static "$scratch/build/host_static"
    runs "meson dependency(static: true)" "$scratch/build/host_static"
}

# ---- CMake ---------------------------------------------------------------------------------------

find_package() { # BUILD_NAME ASK LINK
    "$CMAKE" -S "$here/find_package" -B "$scratch/$1" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_PREFIX_PATH="$installed" -DSMOKE="$smoke" "-DASK=$2" "-DLINK=$3"
}
found() { # BUILD_NAME ASK LINK TARGETS
    quietly find_package "$1" "$2" "$3"
    targets=$(sed -n 's/^-- target: //p' "$scratch/log" | paste -sd' ' -)
    grep -q "^-- found: .*, version $version\$" "$scratch/log" || die "$2: not found"
    [ "$targets" = "$4" ] || die "$2: the targets are '$targets', not '$4'"
    quietly "$CMAKE" --build "$scratch/$1"
    for target in $(echo "$3" | tr ';' ' '); do
        case $target in
        *static*) is_static "$scratch/$1/host_$target" ;;
        *) is_shared "$scratch/$1/host_$target" ;;
        esac
        runs "find_package(jsrtmem $(echo "$2" | tr ';' ' ')), $target" "$scratch/$1/host_$target"
    done
}
way_find_package() {
    minor=${version%.*}
    found all "$minor;REQUIRED" "jsrtmem;jsrtmem_static" "jsrtmem jsrtmem_static chakracore"
    found shared "$version;EXACT;CONFIG;REQUIRED;COMPONENTS;shared" jsrtmem jsrtmem
    found static "REQUIRED;COMPONENTS;static" jsrtmem_static jsrtmem_static
    found chakracore "REQUIRED;COMPONENTS;chakracore" chakracore "jsrtmem chakracore"
    found optional "REQUIRED;COMPONENTS;static;OPTIONAL_COMPONENTS;bogus" jsrtmem_static jsrtmem_static
    refused "unknown component 'bogus'; known are shared, static, chakracore" \
        find_package unknown "REQUIRED;COMPONENTS;shared;bogus" ""
    for newer in "$((${minor%.*} + 1)).0" "${minor%.*}.$((${minor#*.} + 1))"; do
        refused "is compatible with requested version \"$newer\"" find_package "newer$newer" "$newer;REQUIRED" ""
    done
}

part() { # BUILD_NAME CMAKE_ARGUMENT...
    at="$scratch/$1"
    shift
    quietly "$CMAKE" -S "$here/part" -B "$at" -DSMOKE="$smoke" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "$@"
    if grep -i warning "$scratch/log"; then die "a warning while configuring"; fi
}
# What the compiler is told for the host's own file, but for where our headers are.
host_command() { # BUILD_NAME
    grep '"command".*smoke\.c' "$scratch/$1/compile_commands.json" | grep 'host\.dir' |
        sed 's/ -I[^ ]*//' | tr -s ' '
}
as_part() { # CMAKE_ARGUMENT...
    part without
    part with "$@"
    diff "$scratch/without/seen.txt" "$scratch/with/seen.txt" || die "the parent has changed, see above"
    [ -n "$(host_command without)" ] || die "the host's command was not found"
    [ "$(host_command without)" = "$(host_command with)" ] ||
        die "the host is compiled with other flags: $(host_command with)"
    quietly "$CMAKE" --build "$scratch/with"
    if grep -i 'warning' "$scratch/log"; then die "a warning while building"; fi
    runs "$way, shared" "$scratch/with/host"
    runs "$way, static" "$scratch/with/host_static"
    is_static "$scratch/with/host_static"
    (cd "$scratch/with" && "$(dirname "$CMAKE")/ctest" -N) | grep -q '^Total Tests: 0$' ||
        die "the parent has tests of ours"
    quietly "$CMAKE" --install "$scratch/with" --prefix "$scratch/prefix"
    [ -z "$(find "$scratch/prefix" -type f 2>/dev/null)" ] || die "a parent's install has our files"
    echo "consume: $way: nothing leaks"
}
way_add_subdirectory() { as_part -DPART=add_subdirectory -DPART_DIR="$source_dir"; }
# The compiler sees the host and the library as one program.
way_link_time() {
    printf 'int main(void) { return 0; }\n' >"$scratch/probe.c"
    # shellcheck disable=SC2086 # flags are words
    "$CC" $CFLAGS -flto "$scratch/probe.c" -o "$scratch/probe" $LDFLAGS 2>/dev/null ||
        not_run "link-time optimisation missing"
    part with -DPART=add_subdirectory -DPART_DIR="$source_dir" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON
    quietly "$CMAKE" --build "$scratch/with"
    if grep -i 'warning' "$scratch/log"; then die "a warning while building"; fi
    runs "link-time optimisation, shared" "$scratch/with/host"
    runs "link-time optimisation, static" "$scratch/with/host_static"
    is_static "$scratch/with/host_static"
}
way_fetchcontent() { as_part -DPART=fetchcontent -DFETCHCONTENT_SOURCE_DIR_JSRTMEM="$source_dir"; }

case $way in
install) ;;
cc | cxx | pkg_config | meson | find_package | add_subdirectory | fetchcontent | link_time) find_libdir ;;
*) die "unknown way; $usage" ;;
esac
"way_$way"
