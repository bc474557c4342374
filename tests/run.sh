#!/bin/sh
# Builds the library and runs its tests; installs missing tools (Debian, apt).
#
# usage: sh tests/run.sh [--full] [--windows] [--only PART,...] [-- CTEST_ARGUMENT...]
#   --full     also with AddressSanitizer and UndefinedBehaviorSanitizer, with ThreadSanitizer, for 32 bits,
#              for Windows, with musl, for two ARM machines under qemu and with Clang; then clang-format,
#              clang-tidy, a minute of fuzzing, and coverage; also installs the tools that only some tests
#              need
#   --windows  also for Windows, with MinGW-w64, under Wine
#   --only     only these parts: release, asan, tsan, m32, musl, aarch64, armhf, windows, clang,
#              clang-tidy and fuzz (both after clang), clang-format, coverage
#
# Works from any directory, as root or with sudo, and without a network if nothing is missing.
# Builds in build/, or under TMPDIR if build/ cannot be written. The last line is the sum.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
all_parts=release,asan,tsan,m32,musl,aarch64,armhf,windows,clang,clang-tidy,fuzz,clang-format,coverage
parts=release
tools=no
while [ $# -gt 0 ]; do
    case $1 in
    --full) parts=$all_parts tools=yes ;;
    --windows) parts=release,windows ;;
    --only)
        shift
        [ $# -gt 0 ] || {
            echo "tests/run.sh: --only needs a list of parts; see --help" >&2
            exit 2
        }
        parts=$1
        ;;
    --)
        shift
        break
        ;;
    -h | --help)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "tests/run.sh: unknown argument $1; see --help" >&2
        exit 2
        ;;
    esac
    shift
done
# The rest of "$@" goes to ctest.

for part in $(echo "$parts" | tr ',' ' '); do
    case ,$all_parts, in
    *,"$part",*) ;;
    *)
        echo "tests/run.sh: there is no part $part; see --help" >&2
        exit 2
        ;;
    esac
done

say() { printf '\n==> %s\n' "$*"; }
die() {
    echo "tests/run.sh: $*" >&2
    exit 1
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-run.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

# ---- what is needed ------------------------------------------------------------------------------

has() { command -v "$1" >/dev/null 2>&1; }

# has_*: true if the thing works, not only if it exists.
compiles() { # SOURCE COMPILER FLAGS...; -x goes before the file, libraries behind it
    printf '%b\n' "$1" >"$scratch/probe.c"
    shift
    "$@" -o "$scratch/probe" >/dev/null 2>&1
}
program='int main(void) { return 0; }'
m32_flags=-m32
has_cc() { compiles "#include <stdio.h>\n$program" cc "$scratch/probe.c" -pthread; }
has_cxx() { compiles "#include <new>\nint main() { return 0; }" c++ -x c++ "$scratch/probe.c"; }
has_make() { has make || has ninja; }
has_cmake() { has cmake && has ctest; }
has_pkg_config() { has pkg-config; }
has_cmocka() {
    compiles "#include <setjmp.h>\n#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n
        #include <cmocka.h>\n$program" cc "$scratch/probe.c" -lcmocka
}
has_lua() {
    compiles "#include <lua.h>\n$program" cc -I/usr/include/lua5.4 "$scratch/probe.c"
}
has_duktape() { compiles "#include <duktape.h>\n$program" cc "$scratch/probe.c"; }
has_programs() { has sqlite3 && has python3 && has git && has lua5.4 && has perl; }
has_clang() { has clang && has clang++; }
has_spin() { has spin; }
has_libfuzzer() {
    compiles 'int LLVMFuzzerTestOneInput(const char *data, long size) { return data[0] > size; }' \
        clang -fsanitize=fuzzer,address "$scratch/probe.c"
}
has_clang_format() { has clang-format; }
has_clang_tidy() { has clang-tidy; }
has_meson() { has meson && has ninja; }
has_deb() { has dpkg-shlibdeps && has dpkg-gensymbols && has dpkg-parsechangelog && has file; }
has_lintian() { has lintian; }
has_abigail() { has abidw && has abidiff; }
has_doxygen() { has doxygen; }
has_graphviz() { has dot; }
has_mandoc() { has mandoc; }
has_man() { has groff && has man; }
has_python() { has python3; }
has_node() { has node && has npm; }
has_valgrind() {
    has valgrind && compiles "#include <valgrind/memcheck.h>\n$program" cc "$scratch/probe.c"
}
# shellcheck disable=SC2086 # flags are words
has_m32() { compiles "#include <errno.h>\n$program" cc $m32_flags "$scratch/probe.c"; }
# shellcheck disable=SC2086
has_m32_cxx() { compiles "#include <new>\nint main() { return 0; }" c++ $m32_flags -x c++ "$scratch/probe.c"; }

has_mingw() {
    compiles "#include <windows.h>\n#include <pthread.h>\n$program" \
        x86_64-w64-mingw32-gcc-posix "$scratch/probe.c" -pthread
}
has_mingw_cxx() {
    compiles "#include <thread>\nint main() { return 0; }" x86_64-w64-mingw32-g++-posix -x c++ "$scratch/probe.c"
}
wine_runs() { # ARCHITECTURE
    compiles "$program" "$1-w64-mingw32-gcc-posix" "$scratch/probe.c" &&
        sh "$root/tests/mingw/wine.sh" "$wine_prefix" "$1-w64-mingw32-gcc-posix" "$scratch/probe.exe" \
            >/dev/null 2>&1
}
has_wine() { has wine && wine_runs x86_64; }

has_sdt() { compiles "#include <sys/sdt.h>\n$program" cc "$scratch/probe.c"; }
has_gdb() { has gdb; }

package_of() {
    case $1 in
    cc) echo "gcc libc6-dev" ;;
    cxx) echo g++ ;;
    make) echo make ;;
    cmake) echo cmake ;;
    pkg_config) echo pkg-config ;;
    cmocka) echo libcmocka-dev ;;
    lua) echo liblua5.4-dev ;;
    duktape) echo duktape-dev ;;
    programs) echo sqlite3 python3 git lua5.4 perl ;;
    clang) echo clang ;;
    spin) echo spin ;;
    libfuzzer) echo "libclang-rt-$(clang -dumpversion 2>/dev/null | cut -d. -f1)-dev" ;;
    clang_format) echo clang-format ;;
    clang_tidy) echo clang-tidy ;;
    mingw) echo gcc-mingw-w64 ;;
    mingw_cxx) echo g++-mingw-w64 ;;
    wine) echo "wine wine64" ;;
    meson) echo "meson ninja-build" ;;
    deb) echo dpkg-dev file ;;
    lintian) echo lintian ;;
    abigail) echo abigail-tools ;;
    doxygen | graphviz | mandoc) echo "$1" ;;
    man) echo "man-db groff" ;;
    python) echo python3 ;;
    node) echo "nodejs npm" ;;
    valgrind) echo "valgrind libc6-dbg" ;;
    sdt) echo systemtap-sdt-dev ;;
    gdb) echo gdb ;;
    # Not gcc-multilib: it excludes compilers for other machines.
    m32) echo "gcc-$(cc -dumpversion | cut -d. -f1)-multilib" ;;
    m32_cxx) echo "g++-$(cc -dumpversion | cut -d. -f1)-multilib" ;;
    aarch64) echo "g++-aarch64-linux-gnu qemu-user" ;;
    armhf) echo "g++-arm-linux-gnueabihf qemu-user" ;;
    musl) echo musl-tools ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        echo "not root, and there is no sudo"
        return 1
    fi
}

apt_install() { # PACKAGE...; the package lists of a fresh machine may be empty or old
    has apt-get || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" \
        >"$scratch/apt" 2>&1 && return
    as_root apt-get update >"$scratch/apt" 2>&1 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" \
            >"$scratch/apt" 2>&1 && return
    tail -n 5 "$scratch/apt"
    return 1
}

# Installs the THINGS that are missing. Leaves in $missing those that could not be installed.
require() { # THING...
    missing=
    packages=
    for thing in "$@"; do
        "has_$thing" && continue
        missing="$missing $thing"
        packages="$packages $(package_of "$thing")"
    done
    [ -n "$missing" ] || return 0
    say "installing:$packages"
    # shellcheck disable=SC2086 # packages are words
    apt_install $packages || echo "the installation failed"
    missing=
    for thing in "$@"; do
        "has_$thing" || missing="$missing $(package_of "$thing")"
    done
    [ -z "$missing" ]
}

say "looking for a compiler, cmake and cmocka"
require cc make cmake cmocka cxx pkg_config lua duktape programs || {
    echo "missing, and not installed:$missing"
    for thing in cc make cmake cmocka; do
        "has_$thing" || die "cannot go on without $(package_of $thing); please install it"
    done
    echo "the tests that need it will be skipped, or are not there"
}
echo "$(cc --version | head -n 1); $(cmake --version | head -n 1)"

# ---- where to build ------------------------------------------------------------------------------

build_root="$root/build"
{ mkdir -p "$build_root" && [ -w "$build_root" ]; } 2>/dev/null ||
    build_root="${TMPDIR:-/tmp}/jsrtmem-build-$(id -u)"
mkdir -p "$build_root" || die "cannot write to $build_root"
wine_prefix="$build_root/wine"

# ---- running -------------------------------------------------------------------------------------

passed=0
failed=0
skipped=0
summary=
note() { summary="$summary$*
"; }

count() { # NAME PASSED FAILED SKIPPED
    passed=$((passed + $2))
    failed=$((failed + $3))
    skipped=$((skipped + $4))
    line=$(printf '%-12s %s passed, %s failed' "$1" "$2" "$3")
    [ "$4" -eq 0 ] || line="$line, $4 skipped"
    note "$line"
}

# Configures, builds and tests one kind of build; $wrap is a command to run it under, such as setarch.
wrap=
run_build() { # NAME CMAKE_ARGUMENT... [; CTEST_ARGUMENT...]
    name=$1
    shift
    build="$build_root/$name"
    # A cache from another source directory is useless.
    if [ -f "$build/CMakeCache.txt" ] &&
        ! grep -qx "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt"; then
        rm -rf "$build"
    fi
    say "$name: building in $build"
    # Forget whether cmocka and headers were found: they may have been installed since.
    if ! cmake -S "$root" -B "$build" -UJSRTMEM_CMOCKA_LINKS '-UJSRTMEM_HAVE_*_H' -DJSRTMEM_WERROR=ON \
        -DJSRTMEM_TESTS=ON "$@" >"$scratch/log" 2>&1; then
        cat "$scratch/log"
        count "$name" 0 1 0
        return
    fi
    grep -A2 'Warning' "$scratch/log"
    if ! cmake --build "$build" -j "$jobs" >"$scratch/log" 2>&1; then
        grep -E -B2 -A12 'error|undefined reference' "$scratch/log" | head -n 100
        count "$name" 0 1 0
        return
    fi
    say "$name: testing"
    (
        cd "$build" || exit 1
        eval "set -- $ctest_arguments"
        # shellcheck disable=SC2086 # the wrapper is words
        $wrap ctest --output-on-failure "$@"
    ) 2>&1 | tee "$scratch/log"
    total=$(sed -n 's/.* tests failed out of \([0-9]*\)$/\1/p' "$scratch/log")
    bad=$(sed -n 's/.* \([0-9]*\) tests failed out of .*/\1/p' "$scratch/log")
    left=$(grep -Ec '\((Skipped|Disabled)\)$' "$scratch/log")
    # What skipped tests lack is only in ctest's own log.
    sed -n -e 's/^not run: /lacks: /p' -e 's/^skipped: /lacks: /p' "$build/Testing/Temporary/LastTest.log" 2>/dev/null | sort -u
    if [ -z "$total" ]; then # no tests at all, or ctest broke
        count "$name" 0 1 0
        return
    fi
    count "$name" $((total - bad - left)) "$bad" "$left"
}

# Quotes "$@" for eval: ctest's arguments must survive functions with arguments of their own.
ctest_arguments=
for argument in "$@"; do
    ctest_arguments="$ctest_arguments '$(printf '%s' "$argument" | sed "s/'/'\\\\''/g")'"
done

run_check() { # NAME COMMAND...; counts as one test
    name=$1
    shift
    say "$name"
    if "$@"; then
        count "$name" 1 0 0
    else
        count "$name" 0 1 0
    fi
}

# The ThreadSanitizer of older compilers does not start if addresses are widely randomised.
run_tsan() {
    compiles "$program" cc -fsanitize=thread "$scratch/probe.c" || {
        note "tsan         left out: the compiler has no ThreadSanitizer"
        return
    }
    for wrap in "" "setarch $(uname -m) -R"; do
        $wrap "$scratch/probe" >/dev/null 2>&1 || continue
        run_build tsan -DJSRTMEM_SANITIZE=thread -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 \
            -DCMAKE_CXX_FLAGS=-O1
        wrap=
        return
    done
    wrap=
    note "tsan         left out: ThreadSanitizer programs do not start on this machine"
}

run_m32() {
    case $(uname -m) in
    x86_64 | i?86) ;;
    *)
        note "m32          left out: not an x86 machine"
        return
        ;;
    esac
    # The kernel's headers for 64 bits serve for 32.
    m32_flags="-m32 -idirafter /usr/include/$(cc -print-multiarch)"
    require m32 m32_cxx || echo "missing, and not installed:$missing"
    has_m32 || {
        note "m32          left out: no 32-bit libraries ($(package_of m32))"
        return
    }
    cmocka32="$build_root/cmocka-i386"
    fetch_cmocka i386 "$cmocka32" ||
        note "m32          no cmocka for i386: the smoke tests and scripts only"
    run_build m32 -DCMAKE_C_FLAGS="$m32_flags" -DCMAKE_CXX_FLAGS="$m32_flags" \
        -DCMAKE_BUILD_TYPE=Release -DJSRTMEM_EXAMPLES=OFF -DCMAKE_LIBRARY_PATH="$cmocka32/lib"
}

run_windows_build() { # NAME ARCHITECTURE
    cmocka="$build_root/cmocka-$1"
    set -- "$1" -DCMAKE_TOOLCHAIN_FILE="$root/tests/mingw/toolchain.cmake" -DJSRTMEM_MINGW_ARCH="$2"
    build_cmocka "$cmocka" "$2" "$3" -DCMAKE_C_FLAGS=-D__USE_MINGW_ANSI_STDIO=1 || {
        tail -n 5 "$scratch/apt"
        note "$(printf '%-12s' "$1") no cmocka for it: the smoke tests and scripts only"
    }
    run_build "$@" -DCMAKE_BUILD_TYPE=Release \
        -DCMOCKA_INCLUDE_DIR="$cmocka/include" -DCMOCKA_LIBRARY="$cmocka/lib/libcmocka.a"
}

run_windows() {
    require mingw mingw_cxx wine || echo "missing, and not installed:$missing"
    has_mingw || {
        note "windows      left out: no compiler for it (gcc-mingw-w64)"
        return
    }
    all_arguments=$ctest_arguments
    nothing_runs="'-R' '^check_(layers|headers|exports)\$'"
    has_wine || {
        note "windows      built, but its programs are not run: no Wine"
        ctest_arguments=$nothing_runs
    }
    run_windows_build windows x86_64
    wine_runs i686 || {
        note "windows-32   built, but its programs are not run: Wine here has no 32 bits"
        ctest_arguments=$nothing_runs
    }
    run_windows_build windows-32 i686
    ctest_arguments=$all_arguments
    has wineserver && WINEPREFIX=$wine_prefix wineserver -k
}
# shellcheck source=tests/cross/cross.sh
. "$root/tests/cross/cross.sh"

our_sources() { # prints the C and C++ files of the given folders
    for folder in "$@"; do
        [ -d "$root/$folder" ] || continue
        find "$root/$folder" -name '*.[ch]' -o -name '*.cpp'
    done
}

check_format() {
    clang-format --version
    our_sources include src tests examples | tr '\n' '\0' >"$scratch/sources"
    xargs -0 clang-format --dry-run -Werror <"$scratch/sources" &&
        xargs -0 awk 'length > 100 { print FILENAME ":" FNR ": over 100 columns"; bad = 1 }
                      END { exit bad }' <"$scratch/sources" # clang-format leaves comments alone
}

# clang-tidy and fuzz use the build of the part clang.
follows_clang() {
    [ -f "$build_root/clang/compile_commands.json" ] || {
        echo "this part needs what clang built: --only clang,..."
        return 1
    }
}

# A minute of fuzzing, starting from the corpus, in the Clang build; its findings stay there.
check_fuzz() {
    follows_clang || return 1
    found="$build_root/clang/found"
    mkdir -p "$found" &&
        cmake --build "$build_root/clang" -j "$jobs" --target fuzz_target >"$scratch/log" 2>&1 &&
        (cd "$found" && ../tests/fuzz/fuzz_target -max_total_time=60 -max_len=4096 -len_control=0 \
            -rss_limit_mb=4096 . "$root/tests/fuzz/corpus") >"$scratch/log" 2>&1 || {
        tail -n 40 "$scratch/log"
        return 1
    }
    grep -E '^#.*DONE|^Done' "$scratch/log"
}

check_tidy() {
    follows_clang || return 1
    clang-tidy --version | grep -i version
    find "$root/src" -name '*.c' ! -name '*_windows.c' | tr '\n' '\0' |
        xargs -0 -n 1 -P "$jobs" clang-tidy --quiet -p "$build_root/clang"
}

# Runs a part, or notes in the summary that its compiler or tool is missing.
if_has() { # THING PART COMMAND...
    thing=$1 part=$2
    shift 2
    if "has_$thing"; then
        "$@"
    else
        note "$(printf '%-12s' "$part") left out: not installed: $(package_of "$thing")"
    fi
}

run_part() { # PART
    case $1 in
    release) run_build release -DCMAKE_BUILD_TYPE=Release ;;
    asan)
        run_build asan -DJSRTMEM_SANITIZE=address -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 \
            -DCMAKE_CXX_FLAGS=-O1
        ;;
    tsan) run_tsan ;;
    m32) run_m32 ;;
    musl) run_cross musl - ;;
    aarch64) run_cross aarch64 arm64 ;;
    armhf) run_cross armhf armhf ;;
    windows) run_windows ;;
    clang)
        require clang || echo "missing, and not installed:$missing"
        if_has clang clang run_build clang -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
            -DCMAKE_BUILD_TYPE=Release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
        ;;
    clang-tidy)
        require clang_tidy || echo "missing, and not installed:$missing"
        if_has clang_tidy clang-tidy run_check clang-tidy check_tidy
        ;;
    fuzz)
        require libfuzzer || echo "missing, and not installed:$missing"
        if_has libfuzzer fuzz run_check fuzz check_fuzz
        ;;
    clang-format)
        require clang_format || echo "missing, and not installed:$missing"
        if_has clang_format clang-format run_check clang-format check_format
        ;;
    coverage)
        require python || echo "missing, and not installed:$missing"
        if_has python coverage run_check coverage sh "$root/tests/coverage.sh" "$build_root/coverage"
        ;;
    esac
}

# A test whose tool is missing says so and is skipped.
if [ "$tools" = yes ]; then
    require spin meson deb lintian abigail doxygen graphviz mandoc man python node \
        valgrind sdt gdb || echo "missing, and not installed:$missing"
fi
for part in $(echo "$parts" | tr ',' ' '); do
    run_part "$part"
done

say "summary"
printf '%s' "$summary"
[ "$skipped" -eq 0 ] || echo "$skipped skipped, see above for what they lack"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
