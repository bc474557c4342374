#!/bin/sh
# Builds the Debian packages and checks their contents; runs lintian on them; installs and uses them in a
# temporary copy of this system.
# usage: deb.sh build|lintian|install SOURCE_DIR BUILD_DIR WORK_DIR
# Exit code 77: not run; the reason is printed.
set -u
usage="usage: deb.sh build|lintian|install SOURCE_DIR BUILD_DIR WORK_DIR"
way=${1:?$usage}
source_dir=${2:?$usage}
build_dir=${3:?$usage}
work=${4:?$usage}
CMAKE=${CMAKE:-cmake}
packages="$work/packages"
runtime=libjsrtmem0
dev=libjsrtmem-dev
chakracore=libjsrtmem-chakracore-dev

die() {
    echo "deb: $way: $*"
    exit 1
}
not_run() {
    echo "not run: $*"
    exit 77
}
needs() { # COMMAND...
    for tool in "$@"; do
        command -v "$tool" >/dev/null || not_run "$tool missing"
    done
}
quietly() { # runs a command, shows its output if it fails
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log"
        die "failed: $*"
    }
}

[ "$way" = inside ] || version=$(sed -n 's/^#define JSRTMEM_VERSION_[A-Z]* \([0-9]*\)$/\1/p' "$source_dir/include/jsrtmem.h" |
    paste -sd. -)
of() { # PACKAGE; the file it is in
    echo "$packages/${1}_$version-1_$(dpkg --print-architecture).deb"
}

# ---- build ---------------------------------------------------------------------------------------

make_packages() { # DIRECTORY
    rm -rf "$1"
    mkdir -p "$1"
    (cd "$build_dir" && "$(dirname "$CMAKE")/cpack" -G DEB -B "$1") >"$work/log" 2>&1 || {
        cat "$work/log"
        die "cpack failed"
    }
    rm -rf "$1/_CPack_Packages"
}

field() { # PACKAGE FIELD PATTERN, a basic regular expression for the whole value
    value=$(dpkg-deb -f "$(of "$1")" "$2")
    echo "$value" | grep -qx -e "$3" || die "$1: $2 is '$value', not '$3'"
}
control_has() { # PACKAGE FILE TEXT
    dpkg-deb -I "$(of "$1")" "$2" 2>&1 | grep -qF -e "$3" || die "$1: control file $2 lacks: $3"
}
has_file() { # PACKAGE PATTERN, for the path
    dpkg-deb -c "$(of "$1")" | grep -e " \./$2\$" >/dev/null || {
        dpkg-deb -c "$(of "$1")"
        die "$1 lacks $2"
    }
}

way_build() {
    needs dpkg-deb dpkg-shlibdeps dpkg-gensymbols dpkg-parsechangelog file gzip
    make_packages "$packages"
    multiarch=usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
    same="(= $version-1)"

    field $runtime Source libjsrtmem
    field $runtime Depends '.*libc6 (>= [0-9.]*).*'
    field $runtime Multi-Arch same
    field $runtime Section libs
    control_has $runtime triggers "activate-noawait ldconfig"
    control_has $runtime shlibs "libjsrtmem 0 $runtime (>= $version"
    control_has $runtime symbols "libjsrtmem.so.0 $runtime #MINVER#"
    has_file $runtime "$multiarch/libjsrtmem\.so\.$version"
    has_file $runtime "$multiarch/libjsrtmem\.so\.0 -> libjsrtmem\.so\.$version"
    # Versions that are installed side by side must not have a file in common.
    others=$(dpkg-deb -c "$(of $runtime)" | awk '$1 !~ /^d/ { print $6 }' |
        grep -v -e "libjsrtmem\.so\.0" -e "/doc/$runtime/")
    [ -z "$others" ] || die "$runtime has more than the library: $others"

    field $dev Depends "$runtime $same"
    field $dev Multi-Arch same
    field $dev Section libdevel
    for file in usr/include/jsrt.h usr/include/jsrtmem.h "$multiarch/libjsrtmem\.a" \
        "$multiarch/libjsrtmem\.so -> libjsrtmem\.so\.0" "$multiarch/pkgconfig/jsrtmem\.pc" \
        "$multiarch/cmake/jsrtmem/jsrtmem-config\.cmake" "usr/share/man/man3/jsrtmem_alloc\.3\.gz" \
        "usr/share/man/man3/jsrtmem_free\.3\.gz -> jsrtmem_alloc\.3\.gz"; do
        has_file $dev "$file"
    done

    field $chakracore Depends "$dev $same, $runtime $same"
    field $chakracore Multi-Arch same
    has_file $chakracore "usr/include/jsrtmem-compat/ChakraCore\.h"
    has_file $chakracore "$multiarch/jsrtmem-chakracore/libChakraCore\.so -> \.\./libjsrtmem\.so\.0"

    for package in $runtime $dev $chakracore; do
        has_file "$package" "usr/share/doc/$package/copyright"
        has_file "$package" "usr/share/doc/$package/changelog\.Debian\.gz"
        for script in preinst postinst prerm postrm; do
            if dpkg-deb -I "$(of "$package")" $script >/dev/null 2>&1; then
                die "$package has a $script: the trigger calls ldconfig"
            fi
        done
        if dpkg-deb -c "$(of "$package")" | grep -v ' root/root '; then
            die "$package: the files above do not belong to root"
        fi
    done

    # The symbols file lists what the library exports, no more and no less.
    rm -rf "$work/tree"
    mkdir -p "$work/tree/debian"
    quietly dpkg-deb -x "$(of $runtime)" "$work/tree/debian/tree"
    (cd "$work/tree" &&
        printf 'Source: libjsrtmem\n\nPackage: %s\nArchitecture: any\n' $runtime >debian/control &&
        dpkg-gensymbols -c4 "-p$runtime" "-v$version-1" -Pdebian/tree \
            "-I$source_dir/src/debian/symbols" -O/dev/null) >"$work/log" 2>&1 || {
        cat "$work/log"
        die "src/debian/symbols is not what the library exports"
    }

    make_packages "$work/again"
    for package in $runtime $dev $chakracore; do
        cmp "$(of "$package")" "$work/again/$(basename "$(of "$package")")" ||
            die "$package is another one each time it is made"
    done
    rm -rf "$work/again" "$work/tree"
    echo "deb: $runtime, $dev and $chakracore $version-1: as they should be, and the same when made again"
}

# ---- lintian -------------------------------------------------------------------------------------

way_lintian() {
    needs dpkg-deb lintian
    [ -f "$(of $runtime)" ] || not_run "no packages were made"
    lintian --version
    lintian --fail-on error "$packages"/*.deb || die "lintian has found errors"
}

# ---- install -------------------------------------------------------------------------------------

# Runs in the copy: as a user's machine, with nothing but the packages.
inside() {
    step() {
        echo "+ $*"
        "$@" || exit 1
    }
    cd /mnt || exit 1
    step dpkg -i ./*.deb
    step dpkg --verify $runtime $dev $chakracore
    ldconfig -p | grep libjsrtmem.so.0 || exit 1
    step cc smoke.c -o shared -ljsrtmem
    step ./shared
    step cc smoke.c -o static -Wl,-Bstatic -ljsrtmem -Wl,-Bdynamic -pthread
    step ./static
    flags=$(pkg-config --cflags --libs jsrtmem) || exit 1
    echo "pkg-config: $flags"
    # Of a folder that the compiler searches anyway nothing has to be said.
    [ "$(echo "$flags" | tr -d ' ')" = "-ljsrtmem" ] || exit 1
    # shellcheck disable=SC2046 # flags are words
    step cc client.c -o client $(pkg-config --cflags --libs jsrtmem-chakracore)
    step ./client
    step cmake -S find_package -B host -DSMOKE=/mnt/smoke.c "-DASK=REQUIRED" -DLINK=jsrtmem
    step cmake --build host
    step host/host_jsrtmem
    if dpkg -r $runtime; then
        echo "$runtime went although $dev needs it"
        exit 1
    fi
    step dpkg -P $chakracore $dev $runtime
    if ldconfig -p | grep jsrtmem; then exit 1; fi
    left=$(find /usr /etc /var/lib/dpkg/info -name '*jsrtmem*' -o -name jsrt.h -o -iname '*chakra*')
    [ -z "$left" ] || {
        echo "left behind: $left"
        exit 1
    }
    echo "all done"
}

# Mounts a copy of / whose changes are kept in memory, at $work/root. In a mount namespace.
copy_system() {
    mount -t tmpfs tmpfs "$work/memory" &&
        mkdir "$work/memory/upper" "$work/memory/work" &&
        mount -t overlay overlay \
            -o "lowerdir=/,upperdir=$work/memory/upper,workdir=$work/memory/work" "$work/root" &&
        mount --rbind /dev "$work/root/dev" &&
        mount --rbind /proc "$work/root/proc" &&
        mount -t tmpfs tmpfs "$work/root/tmp" &&
        mount -t tmpfs tmpfs "$work/root/mnt" || exit 77
}

way_install() {
    needs dpkg unshare chroot cc cmake pkg-config
    [ -f "$(of $runtime)" ] || not_run "no packages were made"
    mkdir -p "$work/memory" "$work/root"
    as_root=--map-root-user
    [ "$(id -u)" -ne 0 ] || as_root=
    # shellcheck disable=SC2086 # none or one
    unshare $as_root --mount true >"$work/log" 2>&1 ||
        not_run "no mount namespace can be had here: $(cat "$work/log")"
    # shellcheck disable=SC2086 # none or one
    unshare $as_root --mount sh "$0" in_copy "$@" >"$work/log" 2>&1
    code=$?
    if [ $code -eq 77 ]; then
        cat "$work/log"
        not_run "a copy of this system cannot be mounted here"
    fi
    cat "$work/log"
    if [ $code -ne 0 ] || ! grep -qx "all done" "$work/log"; then
        die "see above"
    fi
}

way_in_copy() {
    copy_system
    # What this system has from its own builds would be found first.
    find "$work/root/usr/local" \( -name '*jsrtmem*' -o -name jsrt.h \) -prune -exec rm -rf {} +
    cp "$packages"/*.deb "$source_dir/tests/smoke.c" "$source_dir/tests/consume/chakracore/client.c" \
        "$0" "$work/root/mnt/" &&
        cp -R "$source_dir/tests/consume/find_package" "$work/root/mnt/" || exit 1
    chroot "$work/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt TMPDIR=/tmp \
        sh /mnt/deb.sh inside / / /tmp
}

case $way in
build | lintian | install) mkdir -p "$work" && shift && "way_$way" "$@" ;;
in_copy)
    shift # the way, and what it was called with follows
    way_in_copy
    ;;
inside) inside ;;
*) die "$usage" ;;
esac
