#!/bin/sh
# Runs a job of a Debian program plainly, then with its malloc family on the library. The output must be
# the same, byte for byte, without a limit and with a sufficient one. With too small a limit the program
# must end in its own out-of-memory path.
#
# usage: run.sh PRELOAD_LIBRARY JOB [COMMAND...]
#   JOB: sqlite3 python3 git gcc lua5.4 perl options; exercise or ladder, with the command to run
set -u
LC_ALL=C
export LC_ALL
library=${1:?usage: run.sh PRELOAD_LIBRARY JOB [COMMAND...]}
job=${2:?usage: run.sh PRELOAD_LIBRARY JOB [COMMAND...]}
shift 2
here=$(cd "$(dirname "$0")" && pwd) || exit 1
scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-preload.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
unset JSRTMEM_PRELOAD_LIMIT JSRTMEM_PRELOAD_REPORT

fail() {
    echo "preload: $job: $*"
    exit 1
}
# From the system's packages, not what else may be first in PATH.
PATH=/usr/bin:/bin
export PATH
find_program() {
    command -v "$1" >/dev/null 2>&1 || {
        echo "skipped: there is no $1 (Debian: $2)"
        exit 0
    }
}

# ---- the jobs: each runs in an empty directory and leaves its results there ------------------------

enough=1G     # a limit that changes nothing
too_small=2M  # one that the program starts under, but cannot work under
says=         # what the program says then

case $job in
sqlite3)
    find_program sqlite3 sqlite3
    says='out of memory'
    run() { sqlite3 -batch -bail :memory: <"$here/jobs/job.sql"; }
    ;;
python3)
    find_program python3 python3
    too_small=12M
    says=MemoryError
    run() { PYTHONHASHSEED=0 PYTHONMALLOC=malloc python3 -I "$here/jobs/job.py"; }
    ;;
perl)
    find_program perl perl
    too_small=4M
    says='Out of memory'
    run() { PERL_HASH_SEED=0 perl "$here/jobs/job.pl"; }
    ;;
lua5.4)
    find_program lua5.4 lua5.4
    says='not enough memory'
    run() { for script in json words strings; do lua5.4 "$here/../scripts/$script.lua" || return; done; }
    ;;
gcc)
    find_program gcc gcc
    too_small=4M
    says='out of memory'
    # The results are an object with debug information and a program, linked.
    run() {
        printf '#include <stdio.h>\nint main(void) { return printf("%%d\\n", 7) < 0; }\n' >main.c
        gcc -O2 -g -c "$here/preload.c" -I"$here/../../include" -o object.o && gcc main.c -o main
    }
    ;;
git)
    find_program git git
    too_small=1M
    says='[Oo]ut of memory'
    run() {
        HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a
        GIT_COMMITTER_EMAIL=a GIT_AUTHOR_DATE='@1 +0000' GIT_COMMITTER_DATE='@1 +0000'
        export HOME GIT_CONFIG_NOSYSTEM GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME
        export GIT_COMMITTER_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_DATE
        git init -q -b main . && git config pack.threads 3 && git config gc.auto 0 || return
        for round in 1 2 3 4 5 6; do
            seq $((round * 1000)) $((round * 9000)) >numbers
            cp "$here"/*.c "$here"/jobs/* . && sed "s/tenant/tenant$round/" "$here/preload.c" >copy.c
            git add . && git commit -q -m "round $round" || return
        done
        git log --stat -p --format='%H %s' && git blame copy.c && git repack -q -a -d -f --depth=50 &&
            git gc -q --prune=now && git fsck --full --no-progress && git grep -c tenant &&
            git rev-parse HEAD HEAD~3^{tree}
    }
    ;;
exercise)
    run() { "$@"; }
    ;;
options | ladder) ;;
*) fail "unknown job" ;;
esac

# Runs the job in an empty directory, always under the same name, which it may write down: NAME
# [VARIABLE=VALUE...]. What it left goes to a directory of that name.
attempt() {
    name=$1
    shift
    mkdir "$scratch/$name" "$scratch/work" || exit 1
    (
        cd "$scratch/work" || exit 1
        for setting in "$@"; do
            export "${setting?}"
        done
        eval "run $arguments" >"../$name/out" 2>"../$name/err"
        echo $? >"../$name/code"
    )
    mv "$scratch/work" "$scratch/$name/work"
}
code_of() { cat "$scratch/$1/code"; }
arguments=
for argument in "$@"; do
    arguments="$arguments '$argument'"
done

# Each process that reported did its books right: usage is what the events say.
check_reports() { # FILE
    [ -s "$1" ] || fail "nobody reported"
    awk '{
        usage = by_events = ""
        for (i = 1; i < NF; i++) {
            if ($i == "usage") usage = $(i + 1)
            if ($i == "events") by_events = $(i + 1)
        }
        if (usage == "" || usage != by_events) { print "does not balance: " $0; bad = 1 }
    } END { exit bad }' "$1" || fail "see above"
}

same() { # NAME: like the plain run, with what it left behind
    check_reports "$scratch/$1/report"
    for file in code out err; do
        cmp "$scratch/plain/$file" "$scratch/$1/$file" || fail "$1: other $file than plainly"
    done
    diff -r -x index -x .git "$scratch/plain/work" "$scratch/$1/work" || fail "$1: other files than plainly"
}

if [ "$job" = options ]; then
    refuses() { # VARIABLE VALUE
        env "$1=$2" LD_PRELOAD="$library" true 2>"$scratch/err"
        [ $? -eq 2 ] || fail "$1=$2 is taken"
        grep -qF "$1 wants" "$scratch/err" || fail "$1=$2: nothing said: $(cat "$scratch/err")"
    }
    for value in '' 12Q 12MB -1 ' 1' 1k 0x10 99999999999999999999 18014398509481984K none; do
        refuses JSRTMEM_PRELOAD_LIMIT "$value"
    done
    for value in '' 1 stdout relative/file; do
        refuses JSRTMEM_PRELOAD_REPORT "$value"
    done
    for value in 1000000000 1000000K 1000M 17179869183G; do
        env "JSRTMEM_PRELOAD_LIMIT=$value" LD_PRELOAD="$library" true || fail "limit $value is not taken"
    done
    JSRTMEM_PRELOAD_REPORT=stderr LD_PRELOAD=$library bash -c : 2>"$scratch/err"
    grep -q '^preload: bash: usage [1-9].*, peak [1-9].*, refusals 0, runtimes 1$' "$scratch/err" ||
        fail "no report: $(cat "$scratch/err")"
    echo "preload: options: as promised"
    exit 0
fi

if [ "$job" = ladder ]; then
    for limit in 65536 131072 262144 1048576 8388608 33554432; do
        env "JSRTMEM_PRELOAD_LIMIT=$limit" LD_PRELOAD="$library" \
            "JSRTMEM_PRELOAD_REPORT=$scratch/report" "$@" $limit || fail "limit $limit: exit code $?"
    done
    # The OS refuses first: what the budget granted has to come back to it.
    (
        ulimit -v 80000 && env JSRTMEM_PRELOAD_LIMIT=1G LD_PRELOAD="$library" \
            "JSRTMEM_PRELOAD_REPORT=$scratch/report" "$@" 1000000000
    ) || fail "limited address space: exit code $?"
    check_reports "$scratch/report"
    awk -F 'peak |, refusals |, runtimes ' '{ print "peak " $2 ", refusals " $3; bad += $3 == 0 }
        END { exit bad || NR != 7 }' "$scratch/report" || fail "nothing was refused"
    echo "preload: ladder: as promised"
    exit 0
fi

attempt plain
[ "$(code_of plain)" -eq 0 ] || fail "plainly: exit code $(code_of plain): $(tail -n 5 "$scratch/plain/err")"
attempt unlimited LD_PRELOAD="$library" JSRTMEM_PRELOAD_REPORT="$scratch/unlimited/report"
same unlimited
attempt limited LD_PRELOAD="$library" JSRTMEM_PRELOAD_REPORT="$scratch/limited/report" \
    JSRTMEM_PRELOAD_LIMIT=$enough
same limited
cat "$scratch/limited/report" | sort -t, -k3 | tail -n 3

if [ "$job" = exercise ]; then
    # Seven requests cannot be served; of about 3,000 threads no more than 5 were there at one time.
    grep -q '^preload: .*, refusals 7, runtimes [1-5]$' "$scratch/unlimited/report" ||
        fail "another report than that"
else
    attempt small LD_PRELOAD="$library" JSRTMEM_PRELOAD_REPORT="$scratch/small/report" \
        JSRTMEM_PRELOAD_LIMIT=$too_small
    code=$(code_of small)
    # 128 is git's own; above are signals.
    if [ "$code" -eq 0 ] || [ "$code" -gt 128 ]; then
        fail "too small a limit: exit code $code: $(tail -n 5 "$scratch/small/err")"
    fi
    grep -q "$says" "$scratch/small/err" ||
        fail "too small a limit: it does not say \"$says\": $(tail -n 5 "$scratch/small/err")"
    [ ! -s "$scratch/small/report" ] || check_reports "$scratch/small/report"
    echo "too small: exit code $code: $(grep -m 1 "$says" "$scratch/small/err")"
fi
echo "preload: $job: as promised"
