#!/bin/sh
# Compares the types and functions of the library, as the compiler's debug information has them, with the
# committed ones. Any difference is an error: it is a mistake or must be committed.
# usage: check_abi.sh [--refresh] SOURCE_DIR WORK_DIR
#   --refresh  rewrites the committed file; review the difference before you commit it
# CMAKE, CC and CFLAGS are those of the build. Exit code 77: not run; the reason is printed.
set -u
usage="usage: check_abi.sh [--refresh] SOURCE_DIR WORK_DIR"
refresh=no
if [ "${1:-}" = --refresh ]; then
    refresh=yes
    shift
fi
source_dir=$(cd "${1:?$usage}" && pwd) || exit 1
work=${2:?$usage}
CMAKE=${CMAKE:-cmake}
CC=${CC:-cc}

not_run() {
    echo "not run: $*"
    exit 77
}
quietly() { # runs a command, shows its output if it fails
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log"
        echo "abi: failed: $*"
        exit 1
    }
}

# A file for each layout of the types; by GCC, as compilers differ in what they write about them.
layout=$(printf '%s\n' '#include <limits.h>' '#if defined __clang__ || !defined __GLIBC__' other \
    '#elif defined __LP64__' lp64 '#elif defined __i386__' ilp32-align4 '#else' ilp32 '#endif' |
    $CC ${CFLAGS:-} -E -P - | tail -n 1)
baseline="$source_dir/tests/abi/jsrtmem-$layout.abi"
[ -f "$baseline" ] || [ "$refresh" = yes ] || not_run "no file is committed for $("$CC" -dumpmachine)"
for tool in abidw abidiff; do
    command -v $tool >/dev/null || not_run "$tool missing (abigail-tools)"
done

rm -rf "$work"
mkdir -p "$work" || exit 1
quietly "$CMAKE" -S "$source_dir" -B "$work/build" -DCMAKE_C_COMPILER="$CC" \
    -DCMAKE_C_FLAGS="${CFLAGS:-}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DJSRTMEM_TESTS=OFF -DJSRTMEM_EXAMPLES=OFF
quietly "$CMAKE" --build "$work/build" --target jsrtmem
library="$work/build/libjsrtmem.so"

# What is public only, and nothing that depends on where or with what it was compiled.
quietly abidw --headers-dir "$source_dir/include" --drop-private-types --drop-undefined-syms \
    --exported-interfaces-only --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed \
    --no-parameter-names --type-id-style hash --out-file "$work/found.abi" "$library"
sed -i "s|$source_dir/||g; s| language='[^']*'||; s| architecture='[^']*'||; s| declared-inline='yes'||" \
    "$work/found.abi"
if grep -n -e "$source_dir" -e "$work" "$work/found.abi"; then
    echo "abi: the lines above name a folder of this machine"
    exit 1
fi
if [ "$refresh" = yes ]; then
    cp "$work/found.abi" "$baseline"
    echo "abi: $baseline written, $(wc -l <"$baseline") lines"
    exit 0
fi

# Every function that is committed has to be in it: a file that was cut short compares well.
missing=0
while read -r name; do
    grep -q "<elf-symbol name='$name' version='JSRTMEM_[0-9.]*'.* type='func-type'" "$baseline" || {
        echo "abi: $baseline lacks $name"
        missing=1
    }
    grep -q "<function-decl name='$name' .*elf-symbol-id='$name@@JSRTMEM" "$baseline" || {
        echo "abi: $baseline lacks the type of $name"
        missing=1
    }
done <"$source_dir/tests/abi/exports.txt"
[ "$missing" -eq 0 ] || exit 1

abidiff --no-show-locs --harmless "$baseline" "$work/found.abi"
code=$?
if [ $code -ne 0 ]; then
    echo "abi: the interface has changed (abidiff: $code). If that is meant: sh tests/abi/check_abi.sh" \
        "--refresh SOURCE_DIR WORK_DIR"
    exit 1
fi
echo "abi: $(wc -l <"$source_dir/tests/abi/exports.txt") functions and their types are as committed"
