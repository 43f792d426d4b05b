#!/bin/sh
# image/install.sh: installs the requirements of the project in web/ into /venv, at the build of the image.
# usage, in the folder that has what web/ has of requirements: sh install.sh production|development
set -eu

main() {
    case $1 in
    production) names="prod production" modules="django gunicorn" ;;
    *) names="dev development local" modules=django ;;
    esac

    file=$(find_file "$names") || fail "web/ names no requirements" \
        "write web/requirements/${names%% *}.txt, or web/requirements.txt"
    pip --python /venv/bin/python install --no-compile --requirement "$file" || fail "pip could not install web/$file" \
        "mend what the lines above say (something to compile? APT_BUILD_PACKAGES in .env)"
    for module in $modules; do
        python -c "import $module" || fail "$module cannot be imported" "add it to web/$file"
    done
    python -c 'import psycopg' 2>/dev/null || python -c 'import psycopg2' || fail "there is no driver for PostgreSQL" \
        "add psycopg[binary] or psycopg2-binary to web/$file"
    # A package may carry a file for another version of Python, which is no error: pip ignores it too.
    python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /venv || true
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

fail() { # fail WHAT REMEDY
    printf '\nerror: %s; %s\n' "$1" "$2" >&2
    exit 1
}

main "$@"
