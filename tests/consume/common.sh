# shellcheck shell=sh disable=SC2034
# Common to the scripts of this folder: paths, checks, and how to run programs. Each script sources it with
# its arguments, WAY SOURCE_DIR BUILD_DIR WORK_DIR. CMAKE, CC, CXX, CFLAGS, CXXFLAGS and LDFLAGS are those
# of the build. Exit code 77: not run; the reason is printed.
usage="usage: $(basename "$0") WAY SOURCE_DIR BUILD_DIR WORK_DIR"
way=${1:?$usage}
source_dir=${2:?$usage}
build_dir=${3:?$usage}
work=${4:?$usage}
CMAKE=${CMAKE:-cmake}
CC=${CC:-cc}
CXX=${CXX:-}
case $CXX in *NOTFOUND) CXX= ;; esac # as CMake has it
CFLAGS=${CFLAGS:-}
CXXFLAGS=${CXXFLAGS:-}
LDFLAGS=${LDFLAGS:-}
export CC CFLAGS CXXFLAGS LDFLAGS
[ -n "$CXX" ] && export CXX

installed="$work/installed prefix" # a space, as people have them
scratch="$work/$(basename "$0" .sh)_$way"
smoke="$source_dir/tests/smoke.c"
here="$source_dir/tests/consume"
rm -rf "$scratch"
mkdir -p "$scratch" || exit 1

die() {
    echo "consume: $way: $*"
    exit 1
}
not_run() {
    echo "not run: $*"
    exit 77
}
quietly() { # runs a command, shows its output if it fails
    "$@" >"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        die "failed: $*"
    }
}
refused() { # TEXT COMMAND...: the command has to fail, and to say TEXT
    text=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then die "succeeded, and should not have: $*"; fi
    tr '\n' ' ' <"$scratch/log" | tr -s ' ' | grep -qF -e "$text" || {
        cat "$scratch/log"
        die "does not say '$text': $*"
    }
    echo "consume: $way: refused as it should be: $text"
}

version=$(sed -n 's/^#define JSRTMEM_VERSION_[A-Z]* \([0-9]*\)$/\1/p' "$source_dir/include/jsrtmem.h" |
    paste -sd. -)
runs() { # DESCRIPTION PROGRAM [LD_LIBRARY_PATH]
    output=$(LD_LIBRARY_PATH=${3:-} "$2" 2>&1) || die "$1: $output"
    case $output in
    *"libjsrtmem $version: ok") echo "consume: $1: ok" ;;
    *) die "$1: version $version expected: $output" ;;
    esac
}
# Whether a program needs the shared library.
needs_us() { readelf -d "$1" | grep -q 'NEEDED.*libjsrtmem'; }
is_shared() { needs_us "$1" || die "$1 is not linked with the shared library"; }
is_static() { if needs_us "$1"; then die "$1 is linked with the shared library"; fi; }

pkgconf=$(command -v pkg-config || command -v pkgconf || true)

find_libdir() {
    pc=$(find "$installed" -name jsrtmem.pc)
    [ -f "$pc" ] || die "no jsrtmem.pc was installed"
    libdir=$(cd "$(dirname "$pc")/.." && pwd)
}
