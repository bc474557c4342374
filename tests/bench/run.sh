#!/bin/sh
# Builds the benchmark and runs it.
#
#   sh tests/bench/run.sh                   the table: libjsrtmem and its peers, a few minutes
#   sh tests/bench/run.sh quick             64-byte pairs and usage reads, a few seconds
#   sh tests/bench/run.sh callgrind         instructions per unit of work (needs valgrind)
#   sh tests/bench/run.sh peers             the table without libjsrtmem
#
# Further arguments go to the driver: --rounds 15, --only W1k,W2c, --peers mimalloc,counter, ...
# (driver.c lists them). Needs a C compiler and CMake. Peers take part if their Debian packages are
# installed: libmimalloc-dev libjemalloc-dev libtcmalloc-minimal4 libtbb-dev. Lua and Duktape are
# recorded and replayed if installed (liblua5.4-dev, duktape-dev).
#
# Writes to build-bench/ (or $BENCH_BUILD): table.md, brief.md (the most telling rows), chart.svg,
# samples.txt.

set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
build=${BENCH_BUILD:-$here/../../build-bench}
what=table
case "${1-}" in
    table | quick | callgrind | peers) what=$1; shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac

# Prints what it runs, and its output only if it fails.
quietly()
{
    printf '%s\n' "$*" >&2
    if ! "$@" >"$build/log.txt" 2>&1; then
        cat "$build/log.txt" >&2
        exit 1
    fi
}

for tool in cmake cc; do
    if ! command -v "$tool" >/dev/null; then
        echo "run.sh: $tool is missing: apt-get install cmake gcc make" >&2
        exit 1
    fi
done
mkdir -p "$build"
library=ON
[ "$what" = peers ] && library=OFF
quietly cmake -S "$here" -B "$build" -DCMAKE_BUILD_TYPE=Release -DBENCH_LIBRARY="$library"
grep 'peers not found' "$build/log.txt" | sed 's/^-- bench: /install for more: /; s/peers not found: //' >&2 || :
quietly cmake --build "$build" --target bench --parallel

set -- --trace "shipped=$here/traces/lua.trace" "$@"
for engine in lua duktape; do
    script=$here/traces/work.lua
    [ "$engine" = duktape ] && script=$here/traces/work.js
    if [ "$what" != quick ] && [ -x "$build/bench-record-$engine" ]; then
        quietly "$build/bench-record-$engine" "$script" "$build/$engine.trace"
        set -- --trace "$engine=$build/$engine.trace" "$@"
    fi
done

case "$what" in
    quick)
        "$build/bench-quick"
        ;;
    callgrind)
        command -v valgrind >/dev/null || { echo 'run.sh: valgrind is missing' >&2; exit 1; }
        "$build/bench-driver" --callgrind "$@"
        ;;
    *)
        "$build/bench-driver" --markdown "$build/table.md" --brief "$build/brief.md" \
            --svg "$build/chart.svg" --samples "$build/samples.txt" "$@"
        echo "written: $build/table.md, brief.md, chart.svg, samples.txt" >&2
        ;;
esac
