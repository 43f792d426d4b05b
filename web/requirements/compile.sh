#!/bin/sh
# Pin what the .in files ask for: one .txt each, with hashes, for Python 3.10 and later.
# usage: sh requirements/compile.sh [--upgrade]        (needs uv: pip install uv)
set -eu

cd "$(dirname "$0")"

# base.txt comes first; the others are constrained by it, so that all four agree.
for name in base dev prod test; do
    constraint=""
    if [ "$name" != base ]; then
        constraint="--constraint=base.txt"
    fi
    uv pip compile "$name.in" --output-file "$name.txt" ${constraint:+"$constraint"} \
        --universal --python-version 3.10 --generate-hashes \
        --no-emit-index-url --no-header --quiet "$@"
done
