#!/bin/sh
# Checks that tools which watch a process see into a runtime: each kind of mistake is reported at its
# place, and nothing is reported of a host without mistakes.
# usage: tools.sh asan SOURCE_DIR WORK_DIR        builds the library and the host with AddressSanitizer
#        tools.sh asan-built PROGRAM              the same with a host that was built with it already
#        tools.sh valgrind PROGRAM                runs the host that makes the mistakes, with the shared library
#        tools.sh probes PROGRAM LIBRARY          runs the host that prints what the probes should report
#        tools.sh off SOURCE_DIR WORK_DIR         builds a library that reports to no tool
# CC, CMAKE, READELF and CFLAGS are those of the build. Exit code 77: not run; the reason is printed.
set -u
LC_ALL=C
export LC_ALL
CC=${CC:-cc}
CMAKE=${CMAKE:-cmake}
READELF=${READELF:-readelf}
CFLAGS=${CFLAGS:-}
mode=${1:?usage: tools.sh asan|asan-built|valgrind|probes|off ...}

subject=tools
# shellcheck source=tests/support/check.sh
. "$(dirname "$0")/../support/check.sh"

FOUND=23 # the exit status by which a tool says that it found something

# Runs the host under the tool; leaves what it said in $scratch/out and $scratch/report.
watch() { # KIND
    kind=$1
    # shellcheck disable=SC2086 # the tool is words
    $tool "$program" "$kind" >"$scratch/out" 2>"$scratch/report"
    status=$?
    address=$(sed -n 1p "$scratch/out")
    address=${address#0x}
    sed -E -i 's/\.(constprop|isra|part)\.[0-9]+//' "$scratch/report" # names that compilers make
}
show() {
    sed 's/^/    /' "$scratch/report" | head -n 40
}
# TEXT is an extended regular expression; ADDRESS in it is where the mistake was made.
finds() { # KIND TEXT
    watch "$1"
    text=$(echo "$2" | sed "s/ADDRESS/$address/g")
    if [ "$status" -ne $FOUND ]; then
        fail "$1: exit status $status, not $FOUND"
        show
    elif ! tr '\n' ' ' <"$scratch/report" | grep -Eq "$text"; then
        fail "$1: the report does not say '$text'"
        show
    fi
}
finds_nothing() { # KIND
    watch "$1"
    if [ "$status" -ne 0 ] || [ -s "$scratch/report" ]; then
        fail "$1: exit status $status, and a report"
        show
    fi
}

# ---- AddressSanitizer ----------------------------------------------------------------------------

check_asan() {
    ASAN_OPTIONS=exitcode=$FOUND
    export ASAN_OPTIONS
    tool=
    finds_nothing clean
    finds_nothing held
    for kind in freed freed-not-entered freed-elsewhere freed-large-elsewhere beyond beyond-large \
        far-beyond moved shrunk shrunk-far disposed in-callback after-jump; do
        finds $kind "use-after-poison on address 0x0*ADDRESS .* in mistake "
    done
}

build_with_asan() { # SOURCE_DIR WORK_DIR
    mkdir -p "$2" || exit 1
    program="$2/misuse"
    echo 'int main(void) { return 0; }' >"$scratch/probe.c"
    # shellcheck disable=SC2086 # flags are words
    "$CC" $CFLAGS -fsanitize=address "$scratch/probe.c" -o "$scratch/probe" 2>"$scratch/log" ||
        not_run "AddressSanitizer missing"
    sources=$(find "$1/src" -name '*.c' ! -name 'os_windows.c')
    # shellcheck disable=SC2086
    "$CC" $CFLAGS -std=c11 -g -O1 -fsanitize=address -fno-omit-frame-pointer -fexceptions -pthread \
        -I"$1/include" -I"$1/src" $sources "$1/tests/tools/misuse.c" -o "$program" 2>"$scratch/log" || {
        cat "$scratch/log"
        fail "the library does not build with AddressSanitizer"
        exit 1
    }
}

# ---- Valgrind ------------------------------------------------------------------------------------

check_valgrind() {
    command -v valgrind >/dev/null || not_run "valgrind missing"
    valgrind -q "$program" >"$scratch/log" 2>&1
    [ $? -eq 2 ] || { # it says how it is used
        cat "$scratch/log"
        not_run "valgrind does not start such a program here"
    }
    tool="valgrind -q --error-exitcode=$FOUND --leak-check=full --errors-for-leak-kinds=definite"
    read='Invalid read of size 1 .* mistake .* Address 0xADDRESS is'
    finds_nothing clean
    finds_nothing held
    finds freed "$read 3 bytes inside a block of size 40 free'd .* give_away .* Block was alloc'd .* make "
    finds freed-not-entered "$read 3 bytes inside a block of size 40 free'd .* give_away .* alloc'd .* make "
    finds freed-elsewhere "$read 3 bytes inside a block of size 40 free'd .* give_away_on_thread .* make "
    finds freed-large-elsewhere "$read 3 bytes inside a block of size 1,000,000 free'd .* give_away_on_thread "
    finds moved "$read 3 bytes inside a block of size 4,000 free'd .* moved .* alloc'd .* make "
    finds in-callback "$read 0 bytes inside a block of size 40 free'd .* give_away .* in_callback "
    finds after-jump "$read 3 bytes inside a block of size 40 free'd .* give_away .* after_jump "
    for kind in beyond beyond-large far-beyond shrunk shrunk-far disposed; do
        finds $kind "$read"
    done
    finds undefined "depends on uninitialised value.* undefined "
    finds undefined-grown "depends on uninitialised value.* undefined_grown "
    # Tools that count see the program as it is without them.
    valgrind -q --tool=callgrind --callgrind-out-file="$scratch/counts" "$program" clean
    grep -q 'jsrtmem_alloc' "$scratch/counts" || fail "callgrind does not count our functions"
    if grep 'jm_inspect_tell_' "$scratch/counts"; then fail "requests are made to callgrind"; fi
    finds lost "4,321 bytes in [0-9]+ blocks are definitely lost .* lose "
}

# ---- Probes --------------------------------------------------------------------------------------

follow() { # PROBE FORMAT ARGUMENTS: has the debugger print a line where a probe is passed
    printf 'break -probe jsrtmem:%s\ncommands\nsilent\n' "$1"
    printf 'printf "%s %s\\n"%s\ncontinue\nend\n' "$1" "$2" "$3"
}

check_probes() { # LIBRARY
    reader=
    for candidate in "$READELF" readelf; do # LLVM's does not know these notes
        [ -z "$reader" ] && "$candidate" -n "$1" 2>/dev/null | grep -q 'Provider:' && reader=$candidate
    done
    "${reader:-$READELF}" -n "$1" | awk '/Provider:/ { provider = $2 } /Name:/ { print provider ":" $2 }' |
        sort -u >"$scratch/notes"
    for name in acquire create dispose refuse release; do
        echo "jsrtmem:$name"
    done | diff - "$scratch/notes" || fail "the notes in the library name other probes"
    if ! command -v gdb >/dev/null; then
        echo "tools: gdb missing: the notes are all that was looked at"
        return
    fi
    [ "$failures" -eq 0 ] || return
    # shellcheck disable=SC2016 # the dollars are the debugger's
    {
        printf 'set pagination off\nset confirm off\nbreak main\nrun >%s\n' "$scratch/told"
        follow create '%#lx' ', $_probe_arg0'
        follow acquire '%#lx %lu' ', $_probe_arg0, $_probe_arg1'
        follow release '%#lx %lu' ', $_probe_arg0, $_probe_arg1'
        follow refuse '%#lx %d %lu' ', $_probe_arg0, $_probe_arg1, $_probe_arg2'
        follow dispose '%#lx' ', $_probe_arg0'
        echo continue
    } >"$scratch/script"
    gdb -q -nx -batch -x "$scratch/script" "$program" >"$scratch/report" 2>&1
    grep -E '^(create|acquire|release|refuse|dispose) 0' "$scratch/report" |
        sed 's/^refuse 0 /refuse 0x0 /' >"$scratch/passed"
    if [ ! -s "$scratch/told" ]; then
        show
        not_run "gdb does not run a program here"
    fi
    diff "$scratch/told" "$scratch/passed" || fail "the probes tell other things than the host was told"
    [ "$(cut -d' ' -f1 "$scratch/passed" | sort -u | wc -l)" -eq 5 ] || fail "a probe was not passed"
}

# ---- Switched off --------------------------------------------------------------------------------

check_off() { # SOURCE_DIR WORK_DIR
    rm -rf "$2"
    {
        "$CMAKE" -S "$1" -B "$2" -DCMAKE_C_COMPILER="$CC" -DCMAKE_C_FLAGS="$CFLAGS" \
            -DCMAKE_BUILD_TYPE=Release -DJSRTMEM_WERROR=ON -DJSRTMEM_TOOLS=OFF \
            -DJSRTMEM_TESTS=OFF -DJSRTMEM_EXAMPLES=OFF &&
            "$CMAKE" --build "$2" --target jsrtmem
    } >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        fail "the library does not build with JSRTMEM_TOOLS=OFF"
        return
    }
    "$READELF" -nsW "$2/libjsrtmem.so" >"$scratch/report"
    grep -q jm_heap_alloc "$scratch/report" || fail "the symbols of the library cannot be read"
    if grep -E 'stapsdt|jm_inspect_tell_|jm_inspect_watched' "$scratch/report"; then
        fail "it is off, and the above is there"
    fi
}

case $mode in
asan)
    build_with_asan "$2" "$3"
    check_asan
    ;;
asan-built)
    program=$2
    check_asan
    ;;
valgrind)
    program=$2
    check_valgrind
    ;;
probes)
    program=$2
    check_probes "$3"
    ;;
off) check_off "$2" "$3" ;;
*) fail "unknown mode $mode" ;;
esac
[ "$failures" -eq 0 ] && echo "tools: $mode: all that there is to be seen is seen, and nothing else"
[ "$failures" -eq 0 ]
