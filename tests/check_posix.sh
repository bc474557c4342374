#!/bin/sh
# Checks that on a system other than Linux and Windows src/ needs nothing but POSIX.1-2024: compiles it
# with __linux__ undefined, against headers that declare only what the standard has.
# usage: check_posix.sh SOURCE_DIR
# CC is that of the build. Exit code 77: not run; the reason is printed.
set -u
source_dir=${1:?usage: check_posix.sh SOURCE_DIR}
CC=${CC:-cc}

subject=posix
# shellcheck source=tests/support/check.sh
. "$(dirname "$0")/support/check.sh"

# New in POSIX.1-2024: with _XOPEN_SOURCE=700 most systems' headers do not declare it.
cat >"$scratch/posix_2024.h" <<'END'
#include <stddef.h>
int getentropy(void *buffer, size_t size);
#define MAP_ANONYMOUS 0x20
END
compiles() { # FILE FLAG...
    file=$1
    shift
    "$CC" -std=c11 -fexceptions -Wall -Wextra -Werror -fsyntax-only -U__linux__ -D_XOPEN_SOURCE=700 \
        -include "$scratch/posix_2024.h" -I"$source_dir/include" -I"$source_dir/src" "$@" "$file"
}

# First: do the headers hide what is not standard, and is a use of something undeclared found?
for call in 'mremap(0, 0, 0, 0)' 'madvise(0, 0, 0)' 'pthread_getattr_np(0, 0)' 'getrandom(0, 0, 0)'; do
    printf '#include <pthread.h>\n#include <sys/mman.h>\n#include <unistd.h>\n
        void probe(void);\nvoid probe(void) { (void)%s; }\n' "$call" >"$scratch/probe.c"
    if compiles "$scratch/probe.c" 2>/dev/null; then
        not_run "the headers of this system show more than POSIX: $call"
    fi
done

count=0
for file in "$source_dir"/src/*.c; do
    case $file in *_windows.c) continue ;; esac
    count=$((count + 1))
    compiles "$file" || fail "${file##*/} needs more than POSIX"
    compiles "$file" -D__APPLE__ || fail "${file##*/} needs more than POSIX on macOS"
done
[ "$count" -gt 10 ] || fail "the files of src/ were not found"
[ "$failures" -eq 0 ] && echo "posix: $count files need POSIX.1-2024 only"
[ "$failures" -eq 0 ]
