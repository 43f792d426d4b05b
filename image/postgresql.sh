#!/bin/sh
# image/postgresql.sh: takes pg_dump and pg_restore out of PostgreSQL's own image, with the libraries that they need.
# usage, at the build, in an image of PostgreSQL: sh postgresql.sh TARGET
#
# So they are always of the server's own major, whatever Debian the web image is made of. They run by a wrapper, so that
# nothing else finds these libraries.
set -eu

# What the C library brings is the target's own: it is the one thing that has to fit the machine.
GLIBC='/(ld-linux[^/]*|libc|libm|libdl|librt|libpthread|libresolv|libutil|libnsl)\.so'

main() {
    target=$1
    mkdir -p "$target/bin" "$target/lib" "$target/programs"
    for program in pg_dump pg_restore; do
        path=$(find /usr/lib/postgresql /usr/local/bin -name "$program" -type f 2>/dev/null | sort -V | tail -n 1)
        [ -n "$path" ] || fail "PostgreSQL's image has no $program" "set POSTGRES_IMAGE in .env to an image that has it, such as postgres:18"
        ! ldd "$path" | grep -q 'musl' ||
            fail "PostgreSQL's image is based on Alpine, so its $program does not run in the site's image" "set POSTGRES_IMAGE in .env to an image based on Debian, such as postgres:18"
        cp "$path" "$target/programs/"
        ldd "$path" | awk '/=> \// { print $3 }' | grep -Ev "$GLIBC" | while IFS= read -r library; do
            cp -L "$library" "$target/lib/"
        done
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s/lib exec %s/programs/%s "$@"\n' "$target" "$target" "$program" >"$target/bin/$program"
        chmod 755 "$target/bin/$program"
    done
}

fail() { # fail WHAT REMEDY: as facts, which lib/compose.sh reads in what the build has printed
    printf '\nwhat=%s\nnext=%s\n' "$1" "$2" >&2
    exit 1
}

main "$@"
