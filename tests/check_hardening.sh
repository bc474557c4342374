#!/bin/sh
# Checks in the built files that the library is hardened, and that the two hot functions pay nothing for it.
# usage: check_hardening.sh library LIBRARY    checks a library that the build has made
#        check_hardening.sh choices SOURCE_DIR WORK_DIR    builds with the option off, and with a
#                                                          level of _FORTIFY_SOURCE set from outside
# CMAKE, CC, READELF and OBJDUMP are those of the build. The library's target machine decides what to
# expect, not what the build detected. Exit code 77: not run; the reason is printed.
set -u
LC_ALL=C
export LC_ALL
CC=${CC:-cc}
READELF=${READELF:-readelf}
OBJDUMP=${OBJDUMP:-objdump}
CMAKE=${CMAKE:-cmake}
mode=${1:?usage: check_hardening.sh library|choices ...}

subject=hardening
# shellcheck source=tests/support/check.sh
. "$(dirname "$0")/support/check.sh"

quietly() { # runs a command, shows its output if it fails
    "$@" >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        echo "hardening: failed: $*"
        exit 1
    }
}

look_at() { # LIBRARY
    "$READELF" -hW "$1" >"$scratch/header" &&
        "$READELF" -dW "$1" >"$scratch/dynamic" &&
        "$READELF" -lW "$1" >"$scratch/segments" &&
        "$READELF" -nW "$1" >"$scratch/notes" &&
        "$READELF" --dyn-syms -W "$1" >"$scratch/symbols" || exit 1
    machine=$(sed -n 's/^ *Machine: *//p' "$scratch/header")
}
has_now() { grep -Eq '\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW' "$scratch/dynamic"; }
has_relro() { grep -q GNU_RELRO "$scratch/segments"; }
has_plain_stack() { grep -q 'GNU_STACK.* RW ' "$scratch/segments"; }
has_guards() { grep -Eq '__stack_chk_(fail|guard)' "$scratch/symbols"; }
has_checked_libc() { grep -Eq 'UND __[a-z]*_chk@' "$scratch/symbols"; }
# Of those that libc has in both forms; where the compiler sees all sizes, the others are called plainly.
has_unchecked_libc() { grep -Eq 'UND (v?s?n?printf|st[rp]n?c(py|at)|read|poll|getcwd)@' "$scratch/symbols"; }
has_property() { grep -q "x86 feature:.*$1" "$scratch/notes"; }

check_library() {
    look_at "$1"
    has_now || fail "BIND_NOW is not set"
    has_relro || fail "there is no GNU_RELRO segment"
    has_plain_stack || fail "the stack is executable"
    has_guards || fail "no function has a stack guard"
    features="relro, now, stack guards"
    if echo '#include <stdlib.h>' | "$CC" -E -dM - | grep -q __GLIBC__; then
        if has_unchecked_libc; then fail "a call of libc is not checked"; fi
    fi
    case $machine in
    *X86-64* | *80386*)
        has_property SHSTK || fail "the property SHSTK is not set"
        features="$features, shadow stack"
        ;;
    esac
    case $machine in
    *X86-64*) check_hot_functions "$1" ;;
    esac
    echo "hardening: $machine: $features"
}

disassemble() { # LIBRARY FUNCTION
    "$OBJDUMP" -d --no-show-raw-insn "$1" |
        awk -v "name=$2" '$2 ~ "^<" name "(@@.*)?>:$" { on = 1; next } /^$/ { on = 0 } on' \
            >"$scratch/code"
    [ "$(wc -l <"$scratch/code")" -gt 10 ] || fail "$2 was not found in the code"
}

# Guards are read from %fs:0x28; large frames are probed with a loop or an or on the stack.
check_hot_functions() { # LIBRARY
    for function in jsrtmem_alloc jsrtmem_free; do
        disassemble "$1" $function
        if grep -q endbr64 "$scratch/code"; then fail "$function pays for a mark of jumps"; fi
        # shellcheck disable=SC2016 # a dollar of the assembler
        if grep -E '%fs:0x28|stack_chk|or[bwlq]? +\$0x0,.*\(%rsp' "$scratch/code"; then
            fail "$function pays for a guard, see above"
        fi
    done
}

# ---- choices -------------------------------------------------------------------------------------

build() { # NAME CMAKE_ARGUMENT...
    name=$1
    shift
    rm -rf "${work:?}/$name"
    quietly "$CMAKE" -S "$source_dir" -B "$work/$name" -DCMAKE_C_COMPILER="$CC" \
        -DCMAKE_BUILD_TYPE=Release -DJSRTMEM_WERROR=ON -DJSRTMEM_TESTS=OFF -DJSRTMEM_EXAMPLES=OFF "$@"
    quietly "$CMAKE" --build "$work/$name" --target jsrtmem
    look_at "$work/$name/libjsrtmem.so"
}
check_choices() {
    # On some systems the compiler hardens by default, which cannot be told from what we ask for.
    build off -DJSRTMEM_HARDENING=OFF "-DCMAKE_C_FLAGS=-fno-stack-protector -U_FORTIFY_SOURCE"
    if has_guards || has_checked_libc; then fail "off, and guards or checked calls are there"; fi
    if has_property SHSTK; then fail "off, and the property SHSTK is there"; fi

    quietly "$CMAKE" -S "$source_dir" -B "$work/ours" -DCMAKE_C_COMPILER="$CC" \
        -DCMAKE_BUILD_TYPE=Release -DJSRTMEM_TESTS=OFF -DJSRTMEM_EXAMPLES=OFF
    if echo '#include <stdlib.h>' | "$CC" -E -dM - | grep -q __GLIBC__; then
        grep -rq 'FORTIFY_SOURCE=[23]' "$work/ours" --include=flags.make --include=build.ninja ||
            fail "calls of libc would not be checked"
    fi

    build theirs -DCMAKE_C_FLAGS=-D_FORTIFY_SOURCE=1
    if grep -rn 'FORTIFY_SOURCE=[23]' "$work/theirs" --include=flags.make --include=build.ninja; then
        fail "the level 1 that was set from outside was overridden"
    fi
    has_guards || fail "with a level from outside, the rest is gone"

    case $machine in
    *X86-64*)
        build marked -DCMAKE_C_FLAGS=-fcf-protection=full
        disassemble "$work/marked/libjsrtmem.so" jsrtmem_alloc
        sed -n 1p "$scratch/code" | grep -q endbr64 || fail "marks that were asked for are not there"
        ;;
    esac
    echo "hardening: off means off, and choices from outside are kept, without a warning"
}

case $mode in
library) check_library "$2" ;;
choices)
    source_dir=$2
    work=$3
    check_choices
    ;;
*) fail "unknown mode $mode" ;;
esac
[ "$failures" -eq 0 ]
