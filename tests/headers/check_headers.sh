#!/bin/sh
# Compiles each file of this folder as each language version with each compiler, with and without
# USE_EDGEMODE_JSRT. A warning is an error. Prints which compilers are missing.
# usage: check_headers.sh SOURCE_DIR [CC [CXX]]
set -u
source_dir=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
first_cc=${2:-}
first_cxx=${3:-}
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Werror"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-headers.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

compiled=0
failed=0
missing=
done_compilers=" "

compile() { # COMPILER FLAGS... FILE
    compiled=$((compiled + 1))
    "$@" -fsyntax-only >"$scratch/log" 2>&1 && return
    failed=$((failed + 1))
    echo "headers: failed: $*"
    cat "$scratch/log"
}

# Each compiler once, whatever names it is given under.
is_new() { # COMPILER
    path=$(command -v "$1") || return 1
    path=$(readlink -f "$path")
    case $done_compilers in *" $path "*) return 1 ;; esac
    done_compilers="$done_compilers$path "
}

# True where the compiler can use its own headers with these flags.
works() { # COMPILER FLAGS...
    printf '#include <stddef.h>\n#include <stdint.h>\n' >"$scratch/probe.c"
    "$@" -fsyntax-only "$scratch/probe.c" >/dev/null 2>&1
}

check() { # LANGUAGE COMPILER TARGET_FLAG STANDARDS EXTRA_FLAGS
    language=$1 compiler=$2 target=$3 standards=$4 extra=$5
    # shellcheck disable=SC2086 # flags are words
    if ! works "$compiler" -x "$language" $target; then
        missing="$missing '$compiler $target'"
        return
    fi
    before=$compiled
    for standard in $standards; do
        for edge in "" -DUSE_EDGEMODE_JSRT; do
            for file in "$source_dir"/tests/headers/*.c; do
                # shellcheck disable=SC2086
                compile "$compiler" -x "$language" $target -std="$standard" $warnings $extra $edge \
                    -I "$source_dir/include" "$file"
            done
        done
    done
    echo "headers: $compiler $target ($standards): $((compiled - before)) compiled"
}

for compiler in "$first_cc" gcc clang x86_64-w64-mingw32-gcc i686-w64-mingw32-gcc; do
    [ -n "$compiler" ] || continue
    command -v "$compiler" >/dev/null || {
        missing="$missing $compiler"
        continue
    }
    is_new "$compiler" || continue
    extra="-Wstrict-prototypes -Wc++-compat"
    "$compiler" --version | grep -q clang && extra="-Wstrict-prototypes -Wdocumentation"
    check c "$compiler" "" "c99 c11 c17" "$extra"
    case $compiler in
    *mingw* | *musl*) ;; # of one width each
    *) check c "$compiler" -m32 "c99 c17" "$extra" ;;
    esac
    # Clang knows Windows' calling conventions without Windows' headers.
    case $extra in
    *-Wdocumentation*)
        check c "$compiler" "--target=i686-w64-windows-gnu -ffreestanding" "c99 c17" "$extra"
        check c "$compiler" "--target=x86_64-pc-windows-msvc -ffreestanding" "c99 c17" "$extra"
        ;;
    esac
done
done_compilers=" " # clang++ is often the same file as clang
for compiler in "$first_cxx" g++ clang++ x86_64-w64-mingw32-g++; do
    [ -n "$compiler" ] || continue
    command -v "$compiler" >/dev/null || {
        missing="$missing $compiler"
        continue
    }
    is_new "$compiler" || continue
    check c++ "$compiler" "" "c++98 c++17" "-Wunused -Wzero-as-null-pointer-constant"
done

# Where the compiler can do without, no call takes the detour of the linker's table.
calls_directly() { # COMPILER
    printf '#include <jsrtmem.h>\nvoid *f(JsRuntimeHandle r) { return jsrtmem_alloc(r, 16); }\n' >"$scratch/call.c"
    printf '#if !__has_attribute(noplt)\n#error\n#endif\n' >"$scratch/probe.c"
    case $("$1" -dumpmachine) in x86_64-*linux*) ;; *) return ;; esac
    "$1" -fsyntax-only "$scratch/probe.c" 2>/dev/null || return 0
    compiled=$((compiled + 1))
    "$1" -O2 -fPIC -S -o "$scratch/call.s" -I "$source_dir/include" "$scratch/call.c" || exit 1
    grep -q 'jsrtmem_alloc@GOTPCREL' "$scratch/call.s" && return
    failed=$((failed + 1))
    echo "headers: $1 calls through the linker's table:"
    cat "$scratch/call.s"
}
command -v "${first_cc:-gcc}" >/dev/null && calls_directly "${first_cc:-gcc}"

[ -z "$missing" ] || echo "headers: left out, not installed:$missing"
[ "$compiled" -gt 0 ] || {
    echo "headers: no compiler was found"
    exit 1
}
echo "headers: $compiled compiled, $failed failed"
[ "$failed" -eq 0 ]
