#!/bin/sh
# Measures which lines and branches of src/ the tests take. Fails if one is neither taken nor marked in its
# line as /* untested: REASON */, or if more than 2 % of the lines are marked.
#
# usage: sh tests/coverage.sh [BUILD_DIRECTORY]
#
# The library is built without optimisation: each branch of the source is a branch of the code. Functions
# marked always_inline are not inlined: each is counted once, by its own lines. Weak compare-and-swaps fail
# now and then, as on other machines, see coverage/weak_swap.h. All ctests that run the library count, and
# all of their processes are added up. Code for Valgrind only is not compiled: its tests run under Valgrind.
# Needs GCC's gcov, and python3.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
build=${1:-$root/build/coverage}
own=$root/tests/coverage
compiler=${CC:-cc}
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

die() {
    echo "tests/coverage.sh: $*" >&2
    exit 1
}

"$compiler" --version | grep -q 'Free Software Foundation' || die "needs GCC; $compiler is another compiler"
gcov=${GCOV:-gcov-$("$compiler" -dumpversion | cut -d. -f1)}
command -v "$gcov" >/dev/null || gcov=gcov
for tool in "$gcov" python3 cmake ctest; do
    command -v "$tool" >/dev/null || die "needs $tool"
done

mkdir -p "$build" || exit 1
build=$(cd "$build" && pwd) || exit 1
"$compiler" -std=c11 -O1 -fPIC -Wall -Wextra -c "$own/counters.c" -o "$build/counters.o" || exit 1
flags="--coverage -O0 -fprofile-update=atomic -fprofile-abs-path -Dalways_inline=noinline -Wno-attributes"
link="--coverage $build/counters.o"
{
    cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Coverage -DJSRTMEM_EXAMPLES=OFF \
        -DJSRTMEM_TOOLS=OFF -DCMAKE_C_COMPILER="$compiler" -DCMAKE_C_FLAGS="$flags -include $own/weak_swap.h" \
        -DCMAKE_EXE_LINKER_FLAGS="$link -Wl,--export-dynamic-symbol=coverage_register" \
        -DCMAKE_SHARED_LINKER_FLAGS="$link" -DCMAKE_MODULE_LINKER_FLAGS="$link" &&
        cmake --build "$build" -j "$jobs"
} >"$build/log" 2>&1 || {
    tail -n 40 "$build/log"
    die "cannot build"
}

find "$build" -name '*.gcda' -exec rm -f {} +
(cd "$build" && ctest -j "$jobs" --output-on-failure -R '^(test_|no_region_|smoke_|soak$)') >"$build/log" 2>&1 || {
    tail -n 60 "$build/log"
    die "a test failed"
}
tail -n 4 "$build/log"
python3 "$own/report.py" "$gcov" "$root/src" "$build/CMakeFiles/jsrtmem_objects.dir/src"
