# lib/result.sh: facts that a program hands back, KEY=VALUE a line: docs/result-file.md. Nothing here reads a message.

RESULT_FOLDER="$STATE/result" # mounted into the container of postdo, which writes there
RESULT="facts-$$"             # of this run.sh

fact() { # fact KEY <FACTS: the values of a key, a line each; KEY is a pattern, where something stands before it
    sed -n "s/^$1=//p"
}

result() { # result KEY: of the last postdo of this run; empty if there was none, or it was killed
    [ ! -f "$RESULT_FOLDER/$RESULT" ] || fact "$1" <"$RESULT_FOLDER/$RESULT"
}

# The user of the container is seldom the one of run.sh; nobody else gets into the folder above it (0700).
make_result_folder() {
    make_state_folder "$RESULT_FOLDER"
    chmod 777 "$RESULT_FOLDER" 2>/dev/null || true
    rm -f "$RESULT_FOLDER"/facts-* 2>/dev/null || true # also of a run.sh that was killed; only one at a time is at work on production
}

forget_result() {
    rm -f "$RESULT_FOLDER/$RESULT" 2>/dev/null || true # a folder that is not ours is told of elsewhere
}
