#!/bin/sh
# Builds the examples and runs them; installs missing tools (Debian, apt).
#
# usage: sh examples/run.sh
#          runs the tour, and the scripts in examples/scripts in both engines
#        sh examples/run.sh [--limit 16M] [option...] script... [-- argument...]
#          runs your scripts: .lua in Lua, .js in Duktape (JavaScript)
#          --limit SIZE, --veto-after N, --events and --stats are as in lua_host --help
#
# Works from any directory, as root or with sudo, and without a network if nothing is missing.
# Builds in build/examples, or under TMPDIR if build/ cannot be written.
# Exit code: 0 if all went well, 1 if not; with scripts, that of the script host.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
die() {
    echo "examples/run.sh: $*" >&2
    exit 1
}
wrong_usage() {
    echo "examples/run.sh: $*; see --help" >&2
    exit 2
}

# ---- what to run ---------------------------------------------------------------------------------

mode=demo
engine=
use_engine() { # lua or duktape
    [ -z "$engine" ] || [ "$engine" = "$1" ] || wrong_usage "one engine at a time: .lua or .js"
    engine=$1
}
for argument in "$@"; do
    mode=script
    case $argument in
    --) break ;;
    -h | --help)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *.lua) use_engine lua ;;
    *.js) use_engine duktape ;;
    esac
done
[ "$mode" = demo ] || [ -n "$engine" ] || wrong_usage "nothing to run: name a .lua or .js script"

# In the demonstration our messages belong to the output; otherwise the output is the script's.
if [ "$mode" = demo ]; then exec 3>&1; else exec 3>&2; fi
say() { printf '\n==> %s\n' "$*" >&3; }

scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-run.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# ---- what is needed ------------------------------------------------------------------------------

has() { command -v "$1" >/dev/null 2>&1; }

# has_*: true where the thing works, not only where it lies.
compiles() { # INCLUDE...; any of them
    for include in "$@"; do
        printf '#include <%s>\nint main(void) { return 0; }\n' "$include" >"$scratch/probe.c"
        cc "$scratch/probe.c" -o "$scratch/probe" >/dev/null 2>&1 && return
    done
    return 1
}
has_cc() { compiles stdio.h; }
has_make() { has make || has ninja; }
has_cmake() { has cmake; }
has_lua() { compiles lua5.4/lua.h lua.h; }
has_duktape() { compiles duktape.h; }

package_of() {
    case $1 in
    cc) echo "gcc libc6-dev" ;;
    lua) echo liblua5.4-dev ;;
    duktape) echo duktape-dev ;;
    *) echo "$1" ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        echo "not root, and there is no sudo"
        return 1
    fi
}

apt_try() { # APT_GET_ARGUMENT...
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$scratch/apt" 2>&1
}

apt_install() { # PACKAGE...; the package lists of a fresh machine may be empty or old
    has apt-get || {
        echo "there is no apt-get here: please install them yourself"
        return 1
    }
    apt_try install -y --no-install-recommends "$@" && return
    apt_try update && apt_try install -y --no-install-recommends "$@" && return
    tail -n 5 "$scratch/apt"
    return 1
}

# Prints those of the THINGS that are not there.
missing_of() { # THING...
    for thing in "$@"; do
        "has_$thing" || printf ' %s' "$thing"
    done
}

packages_of() { # THING...
    for thing in "$@"; do
        printf ' %s' "$(package_of "$thing")"
    done
}

case $engine in
'') needed="cc make cmake lua duktape" ;;
*) needed="cc make cmake $engine" ;;
esac
# shellcheck disable=SC2046,SC2086 # the things are words
{
    say "looking for: $needed"
    missing=$(missing_of $needed)
    if [ -n "$missing" ]; then
        say "installing:$(packages_of $missing)"
        apt_install $(packages_of $missing) >&3 || echo "the installation failed" >&3
        missing=$(missing_of $needed)
    fi
    [ -z "$missing" ] || echo "missing, and not installed:$(packages_of $missing)" >&2
    vital=$(missing_of cc make cmake $engine)
    [ -z "$vital" ] || die "cannot go on without:$(packages_of $vital)"
}

# ---- building ------------------------------------------------------------------------------------

build_root="$root/build"
{ mkdir -p "$build_root" && [ -w "$build_root" ]; } 2>/dev/null ||
    build_root="${TMPDIR:-/tmp}/jsrtmem-build-$(id -u)"
build="$build_root/examples"
mkdir -p "$build_root" || die "cannot write to $build_root"
# A cache that was made for another place is of no use.
if [ -f "$build/CMakeCache.txt" ] &&
    ! grep -qx "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt"; then
    rm -rf "$build"
fi

quietly() { # runs a command, shows its output if it fails
    "$@" >"$scratch/log" 2>&1 || {
        cat "$scratch/log" >&2
        die "failed: $*"
    }
}

say "building in $build"
quietly cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DJSRTMEM_TESTS=OFF
quietly cmake --build "$build" -j "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)"
programs="$build/examples"
[ -z "$engine" ] || [ -x "$programs/${engine}_host" ] ||
    die "${engine}_host was not built: $(package_of "$engine") was not found by cmake"

if [ "$mode" = script ]; then
    say "${engine}_host $*"
    "$programs/${engine}_host" "$@"
    exit
fi

# ---- the demonstration ---------------------------------------------------------------------------

failed=0
run() { # EXPECTED_EXIT_CODE PROGRAM ARGUMENT...
    expected=$1
    program=$2
    shift 2
    say "$program${*:+ $*}"
    "$programs/$program" "$@" 2>&1
    code=$?
    [ "$code" -eq "$expected" ] && return
    echo "examples/run.sh: $program: exit code $code, expected $expected"
    failed=$((failed + 1))
}

run_engine() { # HOST SUFFIX
    if [ ! -x "$programs/$1" ]; then
        echo "examples/run.sh: $1 was not built: its engine is missing"
        failed=$((failed + 1))
        return
    fi
    say "real work within 64 MiB"
    run 0 "$1" --stats "json.$2" "words.$2" "strings.$2"
    say "a script that catches the error, and goes on"
    run 0 "$1" --limit 16M --stats "recover.$2"
    say "a script that does not; the same runtime then runs the next (exit code 3)"
    run 3 "$1" --limit 16M --stats "endless.$2" "words.$2"
    say "the host says no to the fourth block (exit code 3)"
    run 3 "$1" --veto-after 4 --events --stats "endless.$2"
}

cd "$root/examples/scripts" || exit 1
run 0 tour
run_engine lua_host lua
run_engine duktape_host js
say "done: $failed failed"
[ "$failed" -eq 0 ]
