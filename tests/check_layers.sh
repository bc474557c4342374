#!/bin/sh
# Checks that src/ keeps its layering: a file includes headers of its own or a lower layer only.
# usage: check_layers.sh SOURCE_DIR   checks SOURCE_DIR/src, then that planted violations are found
#        check_layers.sh --only DIR   checks only the files in DIR
set -u
LC_ALL=C
export LC_ALL

# The table of layers; a new file of src/ needs a line here.
layer_of() {
    case $1 in
    base | atomic) echo 0 ;;
    os | os_* | guard | thread | inspect | probe | line) echo 1 ;;
    hook | quota | region | pagemap | header | chain | reserve | shelf | spares | backlog | block | diagnose | environment) echo 2 ;;
    sizeclass | state | arena | remote | heap | aligned | resize | survey | sweep | hole | demand | witness | large | doubt | emptied | giveback) echo 3 ;;
    registry | runtime | before_collect | entry | context | account | process) echo 4 ;;
    abi | jsrt | jsrtmem | jsrtmem_enter | jsrtmem_stats) echo 5 ;;
    *) echo unknown ;;
    esac
}

violations=0
violation() {
    echo "layers: $*"
    violations=$((violations + 1))
}

# Prints the names that a file includes, by "" or <>, one per line.
includes_of() {
    sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]\([^">]*\)[">].*/\1/p' "$1"
}

check_include() { # FILE LAYER INCLUDED
    file=$1 layer=$2 included=$3
    case $included in
    *.c)
        violation "$file includes $included, which is not a header"
        return
        ;;
    jsrt.h | jsrtmem.h)
        [ "$layer" -ge 4 ] || violation "$file (layer $layer) includes the public header $included"
        return
        ;;
    pthread.h | unistd.h | windows.h | Windows.h | sys/*)
        [ "$layer" -eq 1 ] || violation "$file (layer $layer) includes $included of the OS"
        return
        ;;
    esac
    if [ ! -f "$dir/${included##*/}" ]; then
        # Not one of ours, so it must be a C11 header.
        case $included in
        assert.h | errno.h | inttypes.h | limits.h | setjmp.h | stdalign.h | stdarg.h) ;;
        stdatomic.h | stdbool.h | stddef.h | stdint.h | stdio.h | stdlib.h) ;;
        stdnoreturn.h | string.h | time.h) ;;
        *) [ "$layer" -eq 1 ] || violation "$file includes $included, which is neither ours nor C11's" ;;
        esac
        return
    fi
    name=${included##*/}
    included_layer=$(layer_of "${name%.h}")
    [ "$included_layer" = unknown ] && return # reported as a file
    if [ "$included_layer" -gt "$layer" ]; then
        violation "$file (layer $layer) includes $included (layer $included_layer)"
    fi
}

# Prints all headers that a file includes, directly or through other headers.
closure_of() { # FILE
    seen=" " todo=$1
    while [ -n "$todo" ]; do
        next=
        for item in $todo; do
            [ -f "$dir/$item" ] || continue
            for included in $(includes_of "$dir/$item"); do
                case $seen in
                *" $included "*) ;;
                *) seen="$seen$included " next="$next $included" ;;
                esac
            done
        done
        todo=$next
    done
    echo "$seen"
}

check_dir() { # DIR [FILE]   with FILE, of the checks of single files only those of this one
    dir=$1 only=${2:-}
    violations=0
    files=0
    for path in "$dir"/*.c "$dir"/*.h; do
        [ -f "$path" ] || continue
        file=${path##*/}
        [ "${only:-$file}" = "$file" ] || continue
        files=$((files + 1))
        layer=$(layer_of "${file%.*}")
        if [ "$layer" = unknown ]; then
            violation "$file has no layer; give it one in tests/check_layers.sh"
            continue
        fi
        stated=$(sed -n 's/^.*Layer \([0-9]\):.*/\1/p' "$path" | head -n 1)
        if [ "${stated:-$layer}" != "$layer" ]; then
            violation "$file says that it is of layer $stated; the table says $layer"
        fi
        case $file in jsrt.h | jsrtmem.h) violation "$file hides the public header" ;; esac
        for included in $(includes_of "$path"); do
            check_include "$file" "$layer" "$included"
        done
        if [ "$layer" -gt 1 ] && grep -q '_WIN32' "$path"; then
            violation "$file (layer $layer) tests _WIN32; OS differences are files of layer 1"
        fi
    done
    if [ -n "$(find "$dir" -mindepth 2 -name '*.[ch]')" ]; then
        violation "src/ has sources in folders, which this check does not look into"
    fi
    # The quota decides and the OS supplies; only the block layer brings them together.
    for file in quota.c quota.h; do
        [ -f "$dir/$file" ] || continue
        case $(closure_of "$file") in
        *" os.h "*) violation "$file sees os.h" ;;
        esac
    done
    [ "$files" -gt 0 ] || violation "no source files in $dir"
    [ "$violations" -eq 0 ]
}

if [ "${1:-}" = --only ]; then
    check_dir "$2"
    exit
fi

source_dir=${1:-$(cd "$(dirname "$0")/.." && pwd)}
if ! check_dir "$source_dir/src"; then
    echo "layers: $violations violation(s)"
    exit 1
fi
echo "layers: $files files keep to their layers"

# ---- self-test: the check must see each kind of violation ----------------------------------------

scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-layers.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

missed=0
must_fail() { # DESCRIPTION FILE LINE
    rm -rf "$scratch/src"
    cp -R "$source_dir/src" "$scratch/src"
    printf '%s\n' "$3" >>"$scratch/src/$2"
    if (check_dir "$scratch/src" "$2") >/dev/null; then
        echo "layers: self-test: not seen: $1"
        missed=$((missed + 1))
    fi
}
must_fail "a higher layer's header" base.h '#include "os.h"'
must_fail "a higher layer's header, spaced" quota.c ' #  include "heap.h"'
must_fail "a source file" jsrt.c '#include "quota.c"'
must_fail "a public header below layer 4" hook.c '#include "jsrt.h"'
must_fail "a public header below layer 4, with <>" heap.c '#include <jsrtmem.h>'
must_fail "quota knows os" quota.c '#include "os.h"'
must_fail "quota knows os through a header" hook.h '#include "os.h"'
must_fail "os knows quota" os_posix.c '#include "quota.h"'
must_fail "an OS header above layer 1" block.c '#include <sys/mman.h>'
must_fail "an OS test above layer 1" block.c '#if defined(_WIN32)'
must_fail "a third party's header" block.c '#include <zlib.h>'
must_fail "a file without a layer" newcomer.c 'int jm_newcomer;'
must_fail "a file that claims another layer" os_x.h '/* Layer 4: no. */'
must_fail "a copy of a public header" jsrt.h 'int jm_copy;'
[ "$missed" -eq 0 ] || exit 1
echo "layers: self-test: 14 violations planted, 14 found"
