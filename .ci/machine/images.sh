#!/bin/sh
# .ci/machine/images.sh: the base images, where no image registry is in reach.
# usage: sh .ci/machine/images.sh [name...]    names: the folders of .ci/images, `debian`
#
# Each image is pulled where that works. Where it does not, a stand-in of the
# same name and contract is built from Debian and PyPI packages, labelled
# io.postdo.stand-in=true. A real image is never replaced; a stand-in is built
# again, which takes a second from the build cache when nothing changed (the
# one of debian is not: remove the image first). Needs root, the sources of
# trixie.sh and an engine. Changes nothing outside the engine.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

HERE=$(cd "$(dirname "$0")/.." && pwd)
LABEL=io.postdo.stand-in
PULL_SECONDS=120
CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
WORK=$(mktemp -d)

main() {
    trap finish EXIT
    [ $# -gt 0 ] || set -- debian python postgres postgres18 caddy pgadmin redis systemd
    for name; do
        image=$(image_of "$name")
        if is_real "$image" || pull "$image"; then
            echo "$image: the real one."
        else
            stand_in "$name" "$image" >"$WORK/log" 2>&1
            echo "$image: a stand-in."
        fi
    done
}

# Not `stand_in || fail`: that would also keep the shell from stopping at the
# first command that fails in there.
finish() {
    status=$?
    if [ "$status" -ne 0 ] && [ -s "$WORK/log" ]; then
        cat "$WORK/log" >&2
        echo "images.sh: the stand-in for $image did not build. Next: read the output above." >&2
    fi
    rm -rf "$WORK"
    exit "$status"
}

image_of() {
    case $1 in
    debian) echo debian:trixie-slim ;;
    python) echo python:3.13-slim ;;
    postgres) echo postgres:17 ;;
    postgres18) echo postgres:18 ;;
    caddy) echo caddy:2 ;;
    pgadmin) echo dpage/pgadmin4:9 ;;
    redis) echo redis:8 ;;
    systemd) echo postdo-test/systemd ;;
    *) fail "unknown image '$1'" "use a name from .ci/images, or debian" ;;
    esac
}

is_present() {
    docker image inspect "$1" >/dev/null 2>&1
}

is_real() {
    is_present "$1" &&
        [ "$(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$1")" != true ]
}

# Nothing is asked for twice: where a stand-in exists, pulling failed before.
pull() {
    case $1 in postdo-test/*) return 1 ;; esac
    is_present "$1" && return 1
    timeout "$PULL_SECONDS" docker pull --quiet "$1" >/dev/null 2>&1
}

stand_in() {
    if [ "$1" != debian ]; then
        build "$HERE/images/$1" "$2"
    elif ! is_present "$2"; then
        bootstrap_debian "$2"
    fi
}

build() {
    docker build --progress plain --label "$LABEL=true" --build-arg "PIP_INDEX_URL=$(package_index)" --tag "$2" "$1"
}

# Where this machine's pip finds its packages; nothing for the usual place, or
# for one that a container cannot reach.
package_index() {
    index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
    case $index in http*) echo "$index" ;; esac
}

# debian:trixie-slim, with what this machine needs to reach its registries:
# its package sources and its certificate authorities, for all that is built on it.
bootstrap_debian() {
    install_packages debootstrap
    root=$WORK/root
    mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' "$TRIXIE_SOURCES" | head -n 1)
    debootstrap --variant=minbase trixie "$root" "$mirror"

    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    rm -f "$root/etc/apt/sources.list"
    cp "$TRIXIE_SOURCES" "$root/etc/apt/sources.list.d/debian.sources"
    cp "$HERE/images/debian/dpkg.cfg" "$root/etc/dpkg/dpkg.cfg.d/docker"
    cp "$HERE/images/debian/apt.conf" "$root/etc/apt/apt.conf.d/docker-clean"
    rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
    # Beside the bundle of the package ca-certificates, which would overwrite it.
    ca=/usr/local/share/machine-ca.crt
    cp "$CA_BUNDLE" "$root$ca"

    tar -C "$root" -c . | docker import \
        --change "LABEL $LABEL=true" \
        --change "ENV PIP_CERT=$ca SSL_CERT_FILE=$ca UV_SYSTEM_CERTS=true" \
        --change 'CMD ["bash"]' - "$1"
}

main "$@"
