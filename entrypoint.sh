#!/bin/sh
# Entrypoint of the web image: prepare the database, then become the server.
#
# One Python process from beginning to end: it gets the signals itself while it prepares, and the
# server takes its place as PID 1 by exec. (A shell in between would, as PID 1, ignore SIGTERM.)

set -eu

exec python -m postdo prepare -- "$@"
