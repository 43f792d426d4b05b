# .ci/lib.sh: what the steps of .ci/machine share. Sourced by each.

# Written by trixie.sh. The stand-in images take their packages from there too.
# shellcheck disable=SC2034 # used by those who source this
TRIXIE_SOURCES=/etc/apt/sources.list.d/postdo-trixie.sources

# fail WHAT REMEDY: the one way to stop.
fail() {
    echo "${0##*/}: $1. Next: $2." >&2
    exit 1
}

# install_packages PACKAGE...: those that are missing, and nothing that is only recommended.
# A name may end in /RELEASE. Where all are there, apt is not even asked.
install_packages() {
    missing=$(missing_of "$@")
    [ -n "$missing" ] || return 0
    [ "$(id -u)" -eq 0 ] || fail "installing packages needs root" "run .ci/run as root"
    apt_get update
    # shellcheck disable=SC2086 # one word for each package
    apt_get install -y --no-install-recommends $missing
}

missing_of() {
    for package; do
        dpkg-query -W -f '${Status}' "${package%/*}" 2>/dev/null | grep -q ' installed$' ||
            echo "$package"
    done
}

# Quiet unless it fails: hundreds of lines would hide the story of the run.
apt_get() {
    output=$(DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" 2>&1) || {
        echo "$output" >&2
        fail "apt-get $1 failed" "read the output above; is the package mirror in reach?"
    }
}
