#!/bin/sh
# Checks that a program with more rights than its caller (setuid) ignores the environment.
# usage: check_secure.sh PROGRAM    creates a runtime; must not need our shared library at run time
# Exit code 77: not run; the reason is printed.
set -u
program=${1:?usage: check_secure.sh PROGRAM}

not_run() {
    echo "not run: $*"
    exit 77
}
[ "$(id -u)" -eq 0 ] || not_run "only root can make a program of somebody else's rights"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/jsrtmem-secure.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$scratch"

complains() { # PROGRAM
    JSRTMEM_RESERVE_LIMIT=nonsense JSRTMEM_DIAGNOSTICS=stats "$1" >/dev/null 2>"$scratch/said" || {
        cat "$scratch/said"
        echo "secure: $1 failed"
        exit 1
    }
    grep -q JSRTMEM_RESERVE_LIMIT "$scratch/said" && grep -q 'stats: process' "$scratch/said"
}
cp "$program" "$scratch/plain" && cp "$program" "$scratch/secure" || exit 1
chown 65534:65534 "$scratch/secure" && chmod 6755 "$scratch/secure" || exit 1
if grep -Eq "^[^ ]+ $(stat -c %m "$scratch") [^ ]+ ([^ ]*,)?nosuid" /proc/mounts; then
    not_run "the file system of $scratch gives nobody more rights"
fi

complains "$scratch/plain" || {
    echo "secure: the environment is not listened to at all"
    exit 1
}
if complains "$scratch/secure" || [ -s "$scratch/said" ]; then
    cat "$scratch/said"
    echo "secure: a program with another user's rights listens to the environment"
    exit 1
fi
echo "secure: a program with another user's rights is deaf to the environment"
