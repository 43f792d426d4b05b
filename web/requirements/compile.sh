#!/bin/sh
# Pin what the .in files ask for: one .txt each, with hashes, for Python 3.10 and later.
# usage: sh requirements/compile.sh [--upgrade]        (needs uv: pip install uv)
set -eu

cd "$(dirname "$0")"

parts() { # what else has an .in
    for file in *.in; do
        case ${file%.in} in base | dev | prod | test) ;; *) printf '%s ' "${file%.in}" ;; esac
    done
}

# base.txt comes first, and test.txt, which has everything but dev and prod; the others are constrained by them, so that all
# agree: those of the optional parts (COMPOSE_PROFILES in .env) are installed beside prod.txt or dev.txt.
for name in base test dev prod $(parts); do
    case $name in
    base) constraint="" ;;
    test | dev | prod) constraint="--constraint=base.txt" ;;
    *) constraint="--constraint=test.txt" ;;
    esac
    uv pip compile "$name.in" --output-file "$name.txt" ${constraint:+"$constraint"} \
        --universal --python-version 3.10 --generate-hashes \
        --no-emit-index-url --no-header --quiet "$@"
done
