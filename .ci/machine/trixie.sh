#!/bin/sh
# .ci/machine/trixie.sh: Debian 13's packages, within reach of a Debian 12.
# usage: sh .ci/machine/trixie.sh
#
# The machine's own Debian sources once more, for the next release, at a
# priority at which nothing is taken from it that is not asked for by name.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

main() {
    mkdir -p "$(dirname "$TRIXIE_SOURCES")"
    { from_paragraphs && from_lines; } | sed 's/bookworm/trixie/g' >"$TRIXIE_SOURCES"
    [ -s "$TRIXIE_SOURCES" ] ||
        fail "no Debian 12 source in /etc/apt" "run this on Debian 12, or add its sources"
    cat >/etc/apt/preferences.d/postdo-trixie <<'END'
Package: *
Pin: release n=trixie*
Pin-Priority: 50
END
    # Copies of backups. That of Debian 12 does not get on with the tests' SFTP server.
    install_packages restic/trixie
    echo "Debian 13 from $(sed -n 's/^URIs: //p' "$TRIXIE_SOURCES" | tr '\n' ' ')"
}

# Sources in the form of today, without comments: those may name other places.
from_paragraphs() {
    find /etc/apt -name '*.sources' ! -name 'postdo-*' -exec awk '
        BEGIN { RS = ""; ORS = "\n\n" }
        /(^|\n)Suites:[^\n]*[ \t]bookworm(-updates|-security)?([ \t\n]|$)/ &&
        /(^|\n)Components:[^\n]*[ \t]main([ \t\n]|$)/ { gsub(/#[^\n]*\n/, ""); print }' {} +
}

# Those in the older form, `deb [options] URI suite component...`.
from_lines() {
    find /etc/apt -name '*.list' -exec sed -En \
        's/^deb +(\[[^]]*\] +)?([^ ]+) +(bookworm(-updates|-security)?) +main( .*)?$/Types: deb\nURIs: \2\nSuites: \3\nComponents: main\n/p' {} +
}

main "$@"
