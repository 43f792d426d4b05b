#!/bin/sh
# .ci/machine/packages.sh: the small tools that the tests use, where they are missing.
# usage: sh .ci/machine/packages.sh
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

main() {
    # The shells that run.sh promises to work under.
    install_packages bash busybox dash
    # Clones; HTTP from a shell; who holds a port; what takes a process apart.
    install_packages ca-certificates curl git iproute2 procps
    # Small full disks (losetup, mkfs) and other users (unshare, setpriv).
    install_packages e2fsprogs mount util-linux
    # `systemd-analyze verify` for the unit.
    install_packages systemd
    # The stand-in images begin with it.
    install_packages debootstrap
    # Encrypted backups.
    install_packages age
    has_postgresql || install_postgresql
    has_python || install_packages python3 python3-venv
    has_python || fail "no Python >= 3.10 with venv" "install one and put it first on the PATH"
}

# The embedded PostgreSQL is tested with the system's programs, too.
has_postgresql() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

# Its programs only: told so beforehand, the package makes and starts no server of its own.
install_postgresql() {
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    install_packages postgresql
}

has_python() {
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

main "$@"
