#!/bin/sh
# image/install.sh: installs the requirements of the project in web/ into /venv, at the build of the image.
# usage, in the folder that has what web/ has of requirements: sh install.sh production|development
set -eu

VENV=${VENV:-/venv} # another place is for the tests

main() {
    target=$1
    case $target in
    production) names="prod production" modules="django gunicorn" ;;
    *) names="dev development local" modules=django ;;
    esac

    file=$(find_file "$names") || fail "web/ has no requirements file" \
        "write web/requirements/${names%% *}.txt, or web/requirements.txt"
    require_git
    require_local_packages
    set -- --requirement "$file"
    for part in $(printf '%s' "${COMPOSE_PROFILES-}" | tr ',' ' '); do
        [ ! -f "requirements/$part.txt" ] || set -- "$@" --requirement "requirements/$part.txt"
    done
    pip --python "$VENV/bin/python" install --no-compile "$@" || fail "pip could not install web/$file" \
        "fix what the lines above say (if a package needs a compiler, set APT_BUILD_PACKAGES in .env)"
    for module in $modules; do
        python -c "import $module" || fail "$module cannot be imported" "add it to web/$file"
    done
    python -c 'import psycopg' 2>/dev/null || python -c 'import psycopg2' || fail "no driver for PostgreSQL is installed" \
        "add psycopg[binary] or psycopg2-binary to web/$file"
    # A package may carry a file for another version of Python, which is no error: pip ignores it too.
    python -m compileall -qq -j 0 --invalidation-mode unchecked-hash "$VENV" || true
    # What Django's translations are compiled from, 9 MB. Only makemessages of Django itself would read it.
    [ "$target" != production ] || find "$VENV" -path '*/site-packages/django/*' -name '*.po' -delete
}

# pip says "Cannot find command 'git'" at the end of a page.
require_git() {
    from_git=$(lines_with '(^|[[:space:]])(-e[[:space:]]*)?git[+]|@[[:space:]]*git[+]' | head -n 1)
    [ -z "$from_git" ] || command -v git >/dev/null || fail "web/${from_git%%:*} installs from git, but the build has no git" \
        "add git to APT_BUILD_PACKAGES in .env"
}

# A package of the project's own, by its path. Only web/libs/ is here at this step (Dockerfile), and the result has no
# link to it: so it is installed as it is, and not as one that can be edited.
require_local_packages() {
    lines_with '^[[:space:]]*((-e|--editable)[[:space:]=]*)?[.]{1,2}/' | while IFS=: read -r local_file local_line; do
        local_path=$(printf '%s\n' "$local_line" | sed -E 's/^[[:space:]]*((-e|--editable)[[:space:]=]*)?//; s/[[:space:];#[].*//')
        [ -e "$local_path" ] || fail "web/$local_file installs $local_path, which is not in web/libs/" \
            "move it into web/libs/, the only folder that a build has when it installs requirements, and refer to it as ./libs/NAME"
    done
    find . -name '*.txt' -not -path './libs/*' -exec sed -E -i 's/^[[:space:]]*(-e|--editable)[[:space:]=]*([.]{1,2}\/)/\2/' {} +
}

lines_with() { # lines_with PATTERN: FILE:LINE of the requirements, without comments
    grep -rE --include='*.txt' --exclude-dir=libs -e "$1" . 2>/dev/null | sed 's/^\.\///' | grep -v ':[[:space:]]*#' || true
}

find_file() { # find_file "NAME NAME...": the first that is there
    for name in $1; do
        if [ -f "requirements/$name.txt" ]; then
            printf 'requirements/%s.txt' "$name"
            return
        fi
    done
    [ -f requirements.txt ] && printf requirements.txt
}

fail() { # fail WHAT REMEDY: as facts, which lib/compose.sh reads in what the build has printed
    printf '\nwhat=%s\nnext=%s\n' "$1" "$2" >&2
    exit 1
}

main "$@"
