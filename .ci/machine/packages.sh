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
    has_python || install_packages python3 python3-venv
    has_python || fail "no Python >= 3.10 with venv" "install one and put it first on the PATH"
}

has_python() {
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

main "$@"
