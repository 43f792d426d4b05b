#!/bin/sh
# .ci/machine/bare.sh: `sh run.sh test` on a machine that has nothing.
# usage: sh .ci/machine/bare.sh [quick | PYTEST_ARGUMENTS...]    without arguments: all tests that can be run there
#
# quick: `sh run.sh test quick` there, with the shorter list of .ci/machine/bare.txt in place of tests/quick.txt.
#
# The machine is a container of Debian 12 with python3, python3-venv and git,
# and a user without privileges, who gets the files as they are here. Needs
# root, the sources of trixie.sh and an engine.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

IMAGE=postdo-test/bare
CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
NAME=postdo-bare-$$
WORK=$(mktemp -d)

main() {
    cd "$(dirname "$0")/../.."
    trap finish EXIT
    docker image inspect "$IMAGE" >/dev/null 2>&1 || bootstrap >"$WORK/log" 2>&1
    start
    hand_over
    [ "$*" != quick ] || as_stranger 'cp clone/.ci/machine/bare.txt clone/tests/quick.txt'
    as_stranger "cd clone && sh run.sh test $*"
}

finish() {
    status=$?
    [ "$status" -eq 0 ] || cat "$WORK/log" 2>/dev/null || true
    docker rm --force "$NAME" >/dev/null 2>&1 || true
    rm -rf "$WORK"
    exit "$status"
}

# Its smallest set of packages, and the three that the README asks for.
bootstrap() {
    install_packages debootstrap
    mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' "$TRIXIE_SOURCES" | head -n 1)
    debootstrap --variant=minbase --include=python3,python3-venv,git bookworm "$WORK/root" "$mirror"
    rm -rf "$WORK"/root/var/cache/apt/archives/*.deb "$WORK"/root/var/lib/apt/lists/*
    tar -C "$WORK/root" -c . | docker import --change 'CMD ["bash"]' - "$IMAGE"
}

# The way to the package index is the machine's: its certificates, its address. /dev/shm is as on a machine of 8 GB, where
# programs can be run from it, as Docker would not have it.
start() {
    docker run --detach --init --name "$NAME" --tmpfs /dev/shm:exec,size=4g --volume "$CA_BUNDLE:/machine-ca.crt:ro" \
        --env PIP_CERT=/machine-ca.crt --env "PIP_INDEX_URL=$(package_index)" "$IMAGE" sleep infinity >/dev/null
    docker exec "$NAME" useradd --create-home stranger
}

package_index() {
    index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
    case $index in http*) echo "$index" ;; esac # pip ignores an empty one
}

# A clone that is one commit: this one may be shallow, and cannot be cloned then.
hand_over() {
    git -c safe.directory='*' ls-files -z --cached --others --exclude-standard >"$WORK/files"
    tar --null --files-from "$WORK/files" -c | docker exec --interactive "$NAME" su stranger -c 'mkdir ~/clone && tar -C ~/clone -x'
    as_stranger 'cd clone && git init -q && git add -A && git -c user.name=Stranger -c user.email=stranger@example.com commit -qm Clone'
}

as_stranger() {
    docker exec --workdir /home/stranger "$NAME" su stranger -c "$1"
}

main "$@"
