#!/bin/sh
# Checks the documentation.
# usage: check_docs.sh headers SOURCE_DIR             every function has its contract in a header
#        check_docs.sh man SOURCE_DIR                 the man pages are well-formed and name only what exists
#        check_docs.sh examples SOURCE_DIR LIBRARY    the programs in README and man pages compile and run
#        check_docs.sh reference SOURCE_DIR BUILD_DIR doxygen reports nothing
# CMAKE, CC and CFLAGS are those of the build. Exit code 77: not run; the reason is printed.
set -u
LC_ALL=C
export LC_ALL
usage="usage: check_docs.sh headers|man|examples|reference SOURCE_DIR ..."
way=${1:?$usage}
source_dir=${2:?$usage}
CMAKE=${CMAKE:-cmake}
CC=${CC:-cc}
CFLAGS=${CFLAGS:-}
exports="$source_dir/tests/abi/exports.txt"

subject=docs
# shellcheck source=tests/support/check.sh
. "$(dirname "$0")/support/check.sh"

# ---- headers -------------------------------------------------------------------------------------

# Prints the comment right above the declaration of a function.
comment_of() { # NAME
    awk -v "name=$1" '
        /^\/\*\*/ { comment = "" }
        { comment = comment $0 "\n" }
        $0 ~ "(^|[ )])" name "\\(" && !/^ \*/ { printf "%s", comment; exit }
    ' "$source_dir/include/jsrt.h" "$source_dir/include/jsrtmem.h"
}

way_headers() {
    while read -r name; do
        comment_of "$name" >"$scratch/comment"
        for part in '\* @brief [A-Z][a-z]*s [a-z]' '\* @return ' '\* Threads: '; do
            grep -q "$part" "$scratch/comment" || fail "$name: its comment has no line like: $part"
        done
        for parameter in $(sed -n '/^ \*\//,$p' "$scratch/comment" | tr -d '\n' |
            sed 's/.*(\([^()]*\));.*/\1/' | tr ',' '\n' | sed -n 's/.*[ *]\([A-Za-z]*\)$/\1/p'); do
            [ "$parameter" = void ] || grep -q "@param $parameter " "$scratch/comment" ||
                fail "$name: its comment does not tell of $parameter"
        done
    done <"$exports"
    [ "$failures" -eq 0 ] || return
    echo "docs: all $(wc -l <"$exports") functions have their contract in a header"
}

# ---- man pages -----------------------------------------------------------------------------------

way_man() {
    pages=$(find "$source_dir/src/man" -name '*.3' | sort)
    for page in jsrtmem jsrtmem_alloc JsSetRuntimeMemoryAllocationCallback; do
        [ -f "$source_dir/src/man/$page.3" ] || fail "there is no $page.3"
    done
    for page in $pages; do
        name=$(basename "$page" .3)
        # A name of several words is a type.
        sed -n 's/^\.F[no] \([A-Za-z_]*\)\( .*\)\{0,1\}$/\1/p' "$page" | sort -u |
            grep -vxF longjmp >"$scratch/named"
        sort "$exports" | comm -13 - "$scratch/named" >"$scratch/unknown"
        [ ! -s "$scratch/unknown" ] || fail "$name.3 names: $(paste -sd' ' "$scratch/unknown")"
        grep -qx "\.Nm $name\( ,\)\{0,1\}" "$page" || fail "$name.3 is not about $name"
    done
    tools=
    if command -v mandoc >/dev/null; then
        tools="$tools mandoc"
        # Run in their folder: the pages refer to each other.
        (cd "$source_dir/src/man" && mandoc -Tlint ./*.3) >"$scratch/log" 2>&1
        [ ! -s "$scratch/log" ] || fail "mandoc -Tlint: $(cat "$scratch/log")"
    fi
    if command -v groff >/dev/null && man --version 2>/dev/null | grep -q '^man 2'; then
        tools="$tools man"
        for page in $pages; do
            # Lines that cannot be adjusted are no mistake; newer versions warn of them.
            LC_ALL=C.UTF-8 MANWIDTH=80 MANROFFOPT=-Wbreak \
                man --warnings -E UTF-8 -l -Tutf8 -Z "$page" >/dev/null 2>"$scratch/log"
            [ ! -s "$scratch/log" ] || fail "man --warnings: $page: $(cat "$scratch/log")"
        done
    fi
    [ "$failures" -eq 0 ] || return
    [ -n "$tools" ] || not_run "mandoc and man-db with groff missing"
    echo "docs: $(echo "$pages" | wc -l) man pages, looked at by:$tools"
}

# ---- examples ------------------------------------------------------------------------------------

runs() { # FILE EXPECTED_OUTPUT
    # shellcheck disable=SC2086 # flags are words
    "$CC" $CFLAGS -std=c11 -Wall -Wextra -Werror -I"$source_dir/include" "$1" -o "$1.out" "$library" \
        -Wl,-rpath,"$(dirname "$library")" >"$scratch/log" 2>&1 || {
        cat "$1" "$scratch/log"
        fail "$1 does not compile"
        return
    }
    "$1.out" >"$scratch/output" || fail "$1 fails"
    grep -q "$2" "$scratch/output" || fail "$1: no line like '$2': $(cat "$scratch/output")"
}

way_examples() {
    library=$1
    awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' "$source_dir/README.md" >"$scratch/readme.c"
    [ "$(wc -l <"$scratch/readme.c")" -gt 10 ] || fail "README.md shows no program"
    runs "$scratch/readme.c" "^stopped at [0-9]* of 1048576 bytes"
    awk '/^\.Bd -literal/ { on = 1; next } /^\.Ed/ { on = 0 } on' "$source_dir/src/man/jsrtmem.3" |
        sed 's/\\e/\\/g' >"$scratch/man.c"
    [ "$(wc -l <"$scratch/man.c")" -gt 10 ] || fail "jsrtmem.3 shows no program"
    runs "$scratch/man.c" "^stopped at [0-9]* bytes"
    [ "$failures" -eq 0 ] || return
    echo "docs: the examples of README.md and jsrtmem.3 run"
}

# ---- reference -----------------------------------------------------------------------------------

way_reference() {
    build_dir=$1
    command -v doxygen >/dev/null || not_run "doxygen missing"
    rm -rf "$build_dir/docs"
    "$CMAKE" --build "$build_dir" --target docs >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        fail "the target docs fails"
        return
    }
    while read -r name; do
        grep -q "class=\"memname\">.*[^a-zA-Z_]$name </td>" "$build_dir"/docs/html/jsrt*_8h.html ||
            fail "$name is not in the reference"
    done <"$exports"
    if command -v dot >/dev/null; then
        [ "$(find "$build_dir/docs/html" -name 'dot_*.svg' | wc -l)" -eq 3 ] ||
            fail "there are not three pictures"
    fi
    [ "$failures" -eq 0 ] || return
    echo "docs: the reference has all $(wc -l <"$exports") functions"
}

shift 2
case $way in
headers | man | examples | reference) "way_$way" "$@" ;;
*) fail "$usage" ;;
esac
[ "$failures" -eq 0 ]
