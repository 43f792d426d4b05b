#!/bin/sh
# image/collect.sh: makes the project in web/ ready to serve, at the build of the image: bytecode, static files, checks.
# usage, in the project's folder: DJANGO_SETTINGS_MODULE=... sh collect.sh STAMP CACHE
#
# CACHE: a folder that outlives the build; it keeps the static files of the last few builds.
set -eu

main() {
    [ -f manage.py ] || fail "web/manage.py is missing" "put your Django project into web/, with manage.py at its top level"
    # A clone made under umask 077 has files that the user "app" could not read.
    chmod -R a+rX .
    # A file that is no Python is shown, and matters only if something imports it.
    python -m compileall -q -j 0 --invalidation-mode unchecked-hash . || true

    # The settings want values that a build does not have and must not have: these stand in for them, and none is kept.
    export POSTDO_MODE=production SECRET_KEY=only-for-this-build-step ALLOWED_HOSTS=localhost
    export DATABASE_URL=postgres://nobody:nothing@127.0.0.1:1/none
    # Each of these loads the project, which is most of its time. So the check goes on beside the others.
    problems=$(mktemp)
    python manage.py check >"$problems" 2>&1 &
    checking=$!
    collect_static "$2"

    # No migration is missing: that leaves a stamp, and a start need not look again. If one is (3), the start refuses too.
    status=0
    compared=$(python -m postdo check --stamp "$1" 2>&1) || status=$?
    wait "$checking" || {
        cat "$problems"
        fail "manage.py check found problems" "fix what the lines above say"
    }
    cat "$problems"
    printf '%s\n' "$compared"
    [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || fail "the migrations could not be checked" "fix what the lines above say"
}

# Compressing them takes seconds. Where every file and setting is the same as at an earlier build, so is the result.
collect_static() { # collect_static CACHE
    facts=$(python "${0%/*}/static_files.py" 2>/dev/null | tail -n 2) || facts=
    key=$(printf '%s\n' "$facts" | sed -n '1s/^\([0-9a-f]\{64\}\)$/\1/p')
    root=$(printf '%s\n' "$facts" | sed -n 2p)
    if [ -z "$key" ]; then
        make_static
    elif [ -d "$1/$key" ]; then
        mkdir -p "$root"
        cp -a "$1/$key/." "$root/"
        touch "$1/$key"
        echo "static files: unchanged, so those of an earlier build are used"
    else
        make_static
        keep_static "$1" "$key" "$root"
    fi
}

KEPT=5 # of this machine's sites and their versions

keep_static() { # keep_static CACHE KEY FOLDER
    rm -rf "$1/unfinished"
    cp -a "$3" "$1/unfinished" && mv "$1/unfinished" "$1/$2" || return 0
    touch "$1/$2"
    # shellcheck disable=SC2012 # the names are ours: digests
    ls -t "$1" | tail -n "+$((KEPT + 1))" | while IFS= read -r old; do rm -rf "${1:?}/$old"; done
}

make_static() {
    if collected=$(python manage.py collectstatic --noinput 2>&1); then
        printf '%s\n' "$collected"
        return
    fi
    printf '%s\n' "$collected"
    # A package's script names a source map, or its style sheet a picture, that it does not ship.
    missing=$(printf '%s\n' "$collected" | sed -n "s/.*The file '\([^']*\)' could not be found with .*/\1/p" | tail -n 1)
    [ -z "$missing" ] || fail "collectstatic failed: a static file refers to $missing, which does not exist" \
        "correct the reference; if it is in a package, add an empty file static/$missing to one of your applications"
    fail "collectstatic failed" \
        "fix what the lines above say (the settings are $DJANGO_SETTINGS_MODULE; during a build there is no database and no .env)"
}

fail() { # fail WHAT REMEDY: as facts, which lib/compose.sh reads in what the build has printed
    printf '\nwhat=%s\nnext=%s\n' "$1" "$2" >&2
    exit 1
}

main "$@"
