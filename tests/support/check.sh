# shellcheck shell=sh disable=SC2034
# Common to the check scripts, which set `subject` and source this file. Creates a scratch folder that is
# removed at exit, and prints and counts failures.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-$subject.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

failures=0
fail() {
    echo "$subject: $*"
    failures=$((failures + 1))
}
not_run() {
    echo "not run: $*"
    exit 77
}
