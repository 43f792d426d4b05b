#!/bin/sh
# image/age.sh: installs Debian's age and copies its two programs out of the container.
# usage, as root in a container of the site's image: sh age.sh TARGET
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install --yes --no-install-recommends age
# age last, and whole at once: its name says that both are there.
for program in age-keygen age; do
    cp "/usr/bin/$program" "$1/$program.new"
    mv "$1/$program.new" "$1/$program"
done
