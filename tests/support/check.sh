# shellcheck shell=sh disable=SC2034
# What check scripts have in common. They set `subject` and source it: then there is a folder for what they
# make, which goes with them, and failures are told and counted.
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
