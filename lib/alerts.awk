# lib/alerts.awk: who is told of which problem: once when it begins, once when it has ended.
# usage: awk -v now=SECONDS -v frozen=none|services|all -v delivered=yes|no -f lib/alerts.awk STATE problems=yes -
#
# The input is the problems of a look: NAME, WHAT and NEXT with tabs between them. What STATE has is what this printed last,
# of the lines that begin with "state": NAME, FIRST and LAST (when it was seen), LOOKS, TOLD (when, or 0), WHAT, NEXT.
# Further lines are what to tell: "begin" or "end", NAME, WHAT, NEXT or the minutes that it lasted. It is asked once for
# these, and then, with `delivered`, for the state: what nobody could be told stays to be told.
#
# frozen: problems that an operator may be the cause of (services: a release, maintenance), or that were not looked for (all):
# none of them begins or ends.

BEGIN {
    FS = OFS = "\t"
    CALM = 300      # seconds without it after which a problem has ended: what comes and goes is one
    SURE = 20       # seconds between the first and the second look at what may be over in a moment
    FORGOTTEN = 86400
    MOMENTARY = "^(service-|visitors$|down$|docker$|memory|slow$|connections$|clock$|archive$)"
    OF_SERVICES = "^(service-|visitors$|errors$|slow$|restarts-|memory-|connections$|tasks-|archive$)"
    ALWAYS_SEEN = "^(docker$|down$|back-|given-up-|site-)"
    OF_THE_OPERATOR = "^(maintenance|held|release|parts)$" # who does it knows it
}

!problems {
    order[++count] = $1
    first[$1] = $2; last[$1] = $3; looks[$1] = $4; told[$1] = $5; what[$1] = $6; remedy[$1] = $7
    next
}

$1 == "" || $1 ~ OF_THE_OPERATOR || is_frozen($1) { next }

{
    if (!($1 in first)) {
        order[++count] = $1
        first[$1] = now
        looks[$1] = told[$1] = 0
    }
    looks[$1]++
    last[$1] = now
    what[$1] = $2
    remedy[$1] = $3
    seen[$1]
}

END {
    for (i = 1; i <= count; i++) {
        name = order[i]
        if (first[name] > now) first[name] = now # the clock was wrong then
        if (last[name] > now) last[name] = now
        if (name ~ /^back-/) once(name)
        else if (name in seen) goes_on(name)
        else if (is_frozen(name)) keep(name)
        else ends(name)
    }
}

function is_frozen(name) {
    if (name ~ ALWAYS_SEEN) return 0
    return frozen == "all" || frozen == "services" && name ~ OF_SERVICES
}

function is_sure(name) {
    return name !~ MOMENTARY || looks[name] > 1 && last[name] - first[name] >= SURE
}

# What was done, and has no end.
function once(name) {
    print "begin", name, what[name], remedy[name]
    if (delivered == "no" && now - first[name] < FORGOTTEN) keep(name)
}

function goes_on(name) {
    if (!told[name] && is_sure(name)) {
        print "begin", name, what[name], remedy[name]
        if (delivered == "yes") told[name] = now
    }
    keep(name)
}

function ends(name) {
    if (!is_sure(name)) return
    if (now - last[name] < CALM) { keep(name); return }
    if (now - last[name] > FORGOTTEN) return
    print "end", name, what[name], int((last[name] - first[name]) / 60)
    if (delivered != "yes") keep(name)
}

function keep(name) {
    print "state", name, first[name], last[name], looks[name], told[name], what[name], remedy[name]
}
