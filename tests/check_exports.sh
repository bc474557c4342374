#!/bin/sh
# Checks what the shared library exports and how it is linked.
# usage: check_exports.sh LIBRARY [TOOL]; TOOL is the target's readelf or, for a DLL, its objdump
set -u
LC_ALL=C
export LC_ALL
library=${1:?usage: check_exports.sh LIBRARY [TOOL]}
node=JSRTMEM_0.1
soname=libjsrtmem.so.0

failures=0
fail() {
    echo "exports: $*"
    failures=$((failures + 1))
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-exports.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

sort "$(dirname "$0")/abi/exports.txt" >"$scratch/expected" || exit 1

# ---- Windows -------------------------------------------------------------------------------------

check_dll() { # OBJDUMP
    "$1" -p "$library" >"$scratch/headers" || exit 1
    sed -n '/^\[Ordinal\/Name Pointer\] Table/,/^$/s/^[[:space:]][[:space:]]*\[.*[[:space:]]\([^[:space:]]*\)$/\1/p' \
        "$scratch/headers" | sort >"$scratch/found"
    grep -v @ "$scratch/found" >"$scratch/plain"
    if ! diff "$scratch/expected" "$scratch/plain" >"$scratch/diff"; then
        fail "exports differ (< missing, > too many):"
        grep '^[<>]' "$scratch/diff"
    fi
    # On 32-bit x86 the linker's name of a __stdcall function contains the size of its arguments in bytes.
    runtimes='msvcrt|ucrtbase|api-ms-win-crt-[a-z0-9-]*'
    : >"$scratch/decorated"
    if grep -q 'file format pei-i386' "$scratch/headers"; then
        grep '^Js' "$scratch/expected" >"$scratch/decorated"
        runtimes="$runtimes|libgcc_s_dw2-1"
    fi
    sed -n 's/@[0-9]*$//p' "$scratch/found" | diff "$scratch/decorated" - ||
        fail "exports with numbers differ (< missing, > too many)"
    for flag in DYNAMIC_BASE NX_COMPAT; do
        grep -q "$flag" "$scratch/headers" || fail "$flag is not set"
    done
    grep -Eq 'Entry 9 0*[1-9a-f][0-9a-f]* .*Thread Storage' "$scratch/headers" ||
        fail "there is no thread storage"
    if sed -n 's/^[[:space:]]*DLL Name: //p' "$scratch/headers" |
        grep -Eivx "(kernel32|$runtimes)\.dll"; then
        fail "the library above is needed"
    fi
    [ "$failures" -eq 0 ] || exit 1
    echo "exports: $(wc -l <"$scratch/expected") functions," \
        "$(wc -l <"$scratch/decorated") of them with numbers too; needs only DLLs of the system and libgcc"
}

if [ "$(head -c 2 "$library")" = MZ ]; then
    check_dll "${2:-objdump}"
    exit
fi

# ---- ELF -----------------------------------------------------------------------------------------

readelf=${2:-readelf}
node=JSRTMEM_0.1
soname=libjsrtmem.so.0

# Columns: number, value, size, type, binding, visibility, section, NAME@@NODE. The node's own name is
# an absolute object.
"$readelf" --dyn-syms -W "$library" >"$scratch/symbols" || exit 1
awk '$1 ~ /^[0-9]+:$/ && $7 != "UND" && $7 != "ABS" && $4 != "SECTION"' "$scratch/symbols" >"$scratch/defined"
awk '{ print $8 }' "$scratch/defined" | sort >"$scratch/found"
sed "s/\$/@@$node/" "$scratch/expected" >"$scratch/versioned"
if ! diff "$scratch/versioned" "$scratch/found" >"$scratch/diff"; then
    fail "exports differ (< missing, > too many):"
    grep '^[<>]' "$scratch/diff"
fi
if grep -v ' FUNC ' "$scratch/defined"; then
    fail "the symbols above are not functions"
fi

"$readelf" -dW "$library" >"$scratch/dynamic" || exit 1
"$readelf" -lW "$library" >"$scratch/segments" || exit 1
grep -q "(SONAME).*\[$soname\]" "$scratch/dynamic" || fail "SONAME is not $soname"
grep -q 'FLAGS_1.*NODELETE' "$scratch/dynamic" || fail "NODELETE is not set"
if grep -q 'LOAD.* RWE ' "$scratch/segments"; then fail "a segment is writable and executable"; fi
if grep -Eq 'TEXTREL' "$scratch/dynamic"; then fail "there are text relocations"; fi
if grep -Eq 'RPATH|RUNPATH' "$scratch/dynamic"; then fail "there is a run path"; fi
# Only libc and its threads, and the libraries of a sanitizer or a compiler.
if grep '(NEEDED)' "$scratch/dynamic" |
    grep -Ev '\[(libc|libpthread|ld-linux[^]]*|libgcc_s|libasan|libubsan|libtsan|libdl|libm|libstdc\+\+)\.so'; then
    fail "the library above is needed"
fi

[ "$failures" -eq 0 ] || exit 1
echo "exports: $(wc -l <"$scratch/expected") functions, all @@$node; $soname, nodelete"
