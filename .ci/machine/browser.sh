#!/bin/sh
# .ci/machine/browser.sh: a Chromium for the browser tests, and fonts that make
# its screenshots look like a person's screen.
# usage: sh .ci/machine/browser.sh
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

main() {
    install_packages chromium fonts-dejavu-core fonts-liberation fonts-noto-color-emoji
    # Its start script warns under dash; that says nothing.
    chromium --version 2>/dev/null
}

main "$@"
