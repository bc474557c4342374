#!/bin/sh
# Checks the models of the lock-free parts exhaustively with Spin. Also checks that each mutant of a model,
# which is wrong in one step, fails.
#
# usage: run.sh [MODEL...]     prints a table; exit code 0 if all is as it should be
set -u
LC_ALL=C
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd) || exit 1
[ $# -gt 0 ] || set -- registry freelist quota remote epoch
command -v spin >/dev/null 2>&1 && command -v cc >/dev/null 2>&1 || {
    echo "skipped: there is no spin (Debian: spin)"
    exit 0
}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-models.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch" || exit 1

# Searches all states of a model; MUTANT may be empty. Leaves the outcome in $outcome.
check() { # MODEL MUTANT
    outcome=broken
    optimise=-O0 # compiles faster than a mutant is found
    [ -n "$2" ] || optimise=-O2
    rm -f pan pan.*
    spin -a ${2:+-D"$2"} "$here/$1.pml" >log 2>&1 && cc -w $optimise -DSAFETY -o pan pan.c >log 2>&1 || {
        cat log
        return
    }
    ./pan -m200000 -w22 >log 2>&1
    states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' log)
    if grep -q 'max search depth too small\|out of memory\|Search not completed' log &&
        ! grep -q 'errors: [1-9]' log; then
        outcome=incomplete
    elif grep -q 'errors: 0$' log; then
        outcome=holds
    elif grep -q 'errors: [1-9]' log; then
        outcome=fails
    fi
}

bad=0
models=0
killed=0
row() { # MODEL MUTANT EXPECTED TEXT
    check "$1" "$2"
    result=ok
    if [ "$outcome" != "$3" ]; then
        result="BAD: expected that it $3"
        bad=$((bad + 1))
        grep -E 'assertion|invalid|error' log | head -n 5
    fi
    printf '%-9s %-20s %10s states  %-10s %s\n' "$1" "${2:-as it is}" "${states:--}" "$outcome" "$result"
}

for model in "$@"; do
    row "$model" "" holds
    models=$((models + 1))
    for mutant in $(sed -n 's/^ \* mutant \([A-Z_]*\): .*/\1/p' "$here/$model.pml"); do
        row "$model" "$mutant" fails
        killed=$((killed + 1))
    done
done
echo "$models models, $killed mutants, $bad not as expected"
[ "$bad" -eq 0 ]
