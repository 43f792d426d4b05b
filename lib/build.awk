# lib/build.awk: why a build failed, out of what BuildKit said of it (--progress plain).
# usage: awk -v want=cause|lines -f lib/build.awk LOG
#
# cause: the one line that names it, if there is one. lines: that one with its surroundings, and the last ones of the step
# that failed; not Docker's second copy of them.

function names_the_cause(text) {
    if (text ~ /subprocess-exited-with-error|metadata-generation-failed|legacy-install-failure|error: failed-wheel-build/) return 0
    if (text ~ /ERROR: Failed (to build|building)/) return 0
    return text ~ /fatal error: |: fatal: |^ *fatal: |^ *[Ee]rror: |^ERROR: |^E: |command '[^']*' failed|unable to execute|: not found$|No space left|^Killed|[A-Za-z]+(Error|ImproperlyConfigured|ResolutionImpossible): |^[a-z.]*ImproperlyConfigured: /
}

# Our own scripts' facts (image/) are said elsewhere.
function is_noise(text) {
    return text ~ /^(what|next)=|^ *$|━|^ *(Collecting|Downloading|Using cached|Ignoring|Requirement already|Obtaining dependency|Building wheel|Created wheel|Stored in) /
}

{ gsub(/\033\[[0-9;]*[A-Za-z]/, "") }

# The step that failed, and its own lines; a step that was canceled for it ends in another way.
/^#[0-9]+ ERROR: / && failed == "" {
    failed = $1
    said = $0
    sub(/^#[0-9]+ ERROR: /, "", said)
}
/^#[0-9]+ [0-9.]+ / {
    step = $1
    text = $0
    sub(/^#[0-9]+ [0-9.]+ /, "", text)
    if (!is_noise(text)) line[step, ++count[step]] = text
}
!/^#|^-+$/ && NF { last = $0 }

END {
    n = count[failed] + 0
    if (n == 0) {
        if (said == "") said = last
        print said
        exit
    }
    found = 0
    for (i = 1; i <= n && !found; i++) if (names_the_cause(line[failed, i])) found = i
    if (want == "cause") {
        text = line[failed, found]
        sub(/^ +/, "", text)
        if (found) print substr(text, 1, 300)
        exit
    }
    shown = 0
    if (found) {
        for (i = (found > 4 ? found - 4 : 1); i <= n && i <= found + 8; i++) print line[failed, shown = i]
    }
    first = n - (found ? 8 : 20) + 1
    if (first > shown + 1 && found) print "..."
    for (i = (first > shown ? first : shown + 1); i <= n; i++) print line[failed, i]
}
