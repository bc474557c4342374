# shellcheck shell=sh disable=SC2154
# Other machines and another libc: a part of tests/run.sh, which sources it. Everything that is
# fetched here lies under $build_root; the system's packages stay as they are.

has_aarch64() { cross_works aarch64-linux-gnu-gcc qemu-aarch64 && has aarch64-linux-gnu-g++; }
has_armhf() { cross_works arm-linux-gnueabihf-gcc qemu-arm && has arm-linux-gnueabihf-g++; }
has_musl() { has musl-gcc; }
cross_works() { # COMPILER EMULATOR
    has "$2" && compiles "#include <stdio.h>\n$program" "$1" "$scratch/probe.c"
}

# apt with package lists of its own, which know another architecture and the sources.
apt_aside() { # DIRECTORY ARCHITECTURE APT_GET_ARGUMENT...
    lists=$1 architecture=$2
    shift 2
    apt-get -o "APT::Architectures::=$(dpkg --print-architecture)" \
        -o "APT::Architectures::=$architecture" -o Debug::NoLocking=1 \
        -o "Dir::State::Lists=$lists/lists" -o "Dir::Cache=$lists/cache" \
        -o "Dir::Etc::SourceList=$lists/sources.list" -o "Dir::Etc::SourceParts=$lists/none" "$@"
}
make_lists() { # DIRECTORY ARCHITECTURE; the place where this system's packages come from
    mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/none"
    place=$(apt-cache policy libc6 | sed -n 's/^ *[0-9]* \(https\{0,1\}:[^ ]*\) \([a-z]*\)\/main .*/\1 \2/p' |
        grep -v security | head -n 1)
    [ -n "$place" ] || return 1
    printf 'deb %s main\ndeb-src %s main\n' "$place" "$place" >"$1/sources.list"
    apt_aside "$1" "$2" update || true
}

# cmocka of another architecture: its header in DIRECTORY/include, its library in DIRECTORY/lib.
fetch_cmocka() { # ARCHITECTURE DIRECTORY
    [ -e "$2/lib/libcmocka.so" ] && return
    has apt-get && has dpkg-deb || return 1
    aside="$scratch/apt-$1"
    mkdir -p "$2/include" "$2/lib" "$aside"
    (
        cd "$aside" && make_lists "$aside" "$1" &&
            apt_aside "$aside" "$1" download "libcmocka0:$1" "libcmocka-dev:$1" &&
            for package in libcmocka*.deb; do dpkg-deb -x "$package" tree || exit 1; done
    ) >"$scratch/apt" 2>&1 || return 1
    library=$(find "$aside/tree" -name 'libcmocka.so.0' | head -n 1)
    [ -n "$library" ] && cp "$aside"/tree/usr/include/cmocka*.h "$2/include/" &&
        cp -L "$library" "$2/lib/libcmocka.so.0" && ln -sf libcmocka.so.0 "$2/lib/libcmocka.so"
}

# cmocka for another libc or system, compiled from the distribution's source, which is fetched once.
build_cmocka() { # DIRECTORY CMAKE_ARGUMENT...
    prefix=$1
    shift
    [ -e "$prefix/lib/libcmocka.a" ] && return
    has apt-get && has tar || return 1
    aside="$scratch/apt-source"
    mkdir -p "$prefix/include" "$prefix/lib" "$aside/tree"
    (
        cd "$aside" || exit 1
        [ -e tree/CMakeLists.txt ] || {
            make_lists "$aside" "$(dpkg --print-architecture)" &&
                apt_aside "$aside" "$(dpkg --print-architecture)" source --download-only cmocka &&
                tar -xf cmocka_*.orig.tar.?z -C tree --strip-components=1 || exit 1
        }
        rm -rf made
        cmake -S tree -B made -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
            -DWITH_STATIC_LIB=ON -DUNIT_TESTING=OFF -DWITH_EXAMPLES=OFF "$@" && cmake --build made
    ) >"$scratch/apt" 2>&1 || return 1
    library=$(find "$aside/made" -name 'libcmocka*.a' ! -name '*.dll.a' | head -n 1)
    [ -n "$library" ] && cp "$aside"/tree/include/cmocka*.h "$prefix/include/" &&
        cp "$library" "$prefix/lib/libcmocka.a"
}

run_cross() { # NAME DEBIAN_ARCHITECTURE, - for this machine's
    require "$1" || echo "missing, and not installed:$missing"
    "has_$1" || {
        note "$1 left out: not installed: $(package_of "$1")"
        return
    }
    toolchain="$root/tests/cross/$1.cmake"
    cmocka="$build_root/cmocka-$1"
    if [ "$2" = - ]; then
        build_cmocka "$cmocka" -DCMAKE_TOOLCHAIN_FILE="$toolchain"
    else
        fetch_cmocka "$2" "$cmocka"
    fi || {
        tail -n 5 "$scratch/apt"
        note "$1 no cmocka for it: the smoke tests and scripts only"
    }
    library=$(find "$cmocka/lib" -name 'libcmocka.so' -o -name 'libcmocka.a' 2>/dev/null | head -n 1)
    run_build "$1" -DCMAKE_TOOLCHAIN_FILE="$toolchain" -DCMAKE_BUILD_TYPE=Release \
        -DJSRTMEM_EXAMPLES=OFF -DCMOCKA_INCLUDE_DIR="$cmocka/include" -DCMOCKA_LIBRARY="$library"
}
