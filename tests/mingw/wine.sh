#!/bin/sh
# Runs a program for Windows, in a Wine prefix of its own and with the DLLs of the compiler.
# usage: wine.sh PREFIX COMPILER PROGRAM [ARGUMENT...]
set -u
WINEPREFIX=$1
compiler=$2
shift 2

# The folders of the compiler's DLLs, as Windows writes them.
path=
for dll in libgcc_s_seh-1.dll libgcc_s_dw2-1.dll libwinpthread-1.dll; do
    file=$("$compiler" -print-file-name="$dll")
    [ -f "$file" ] || continue
    folder=$(cd "$(dirname "$file")" && pwd)
    # shellcheck disable=SC1003 # a backslash
    path="$path;Z:$(printf '%s' "$folder" | tr / '\\')"
done
WINEPATH=${path#;}
WINEDEBUG=${WINEDEBUG:--all}
WINEDLLOVERRIDES="mscoree,mshtml=" # neither .NET nor a browser is wanted, nor an offer to fetch them
export WINEPREFIX WINEPATH WINEDEBUG WINEDLLOVERRIDES
unset DISPLAY

# First a word from Wine itself. A Wine without 32 bits takes a 32-bit program for run without running it;
# and what it keeps in the background would hold our output open for as long as that lasts. One start of
# some thousands fails, for no reason that a second one has.
folder=system32
case $compiler in *i686*) folder=syswow64 ;; esac
heard=$(mktemp "${TMPDIR:-/tmp}/jsrtmem-wine.XXXXXX") || exit 125
for _ in 1 2 3; do
    wine "C:\\windows\\$folder\\cmd.exe" /c echo runs >"$heard" 2>/dev/null </dev/null
    word=$(tr -d '\r' <"$heard")
    [ "$word" = runs ] && break
done
rm -f "$heard"
if [ "$word" != runs ]; then
    echo "wine.sh: Wine does not run programs of this kind: $1" >&2
    exit 125
fi
exec wine "$@"
