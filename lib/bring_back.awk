# lib/bring_back.awk: which containers of production are started again, and which are left as they are.
# usage: awk -v now=SECONDS -f lib/bring_back.awk TRIES services=yes -
#
# TRIES has a line for each start so far: SECONDS NAME. The input has a line for each service that is meant to run, those
# that others need first: NAME, STATE (lib/compose.sh) and SECONDS in that state. It prints VERB NAME: start,
# restart, or give-up after TRIES_AN_HOUR. Between two tries for one container it waits longer each time.

BEGIN {
    TRIES_AN_HOUR = 6
    WAIT = 15        # seconds after the first try, twice as long after each further one
    UNHEALTHY = 180  # seconds that a container has to recover by itself
}

!services { if ($1 <= now && $1 > now - 3600) { tries[$2]++; last[$2] = $1 } next }

{
    state[$1] = $2
    if ($2 == "stopped") verb = "start"
    # PostgreSQL may be at its recovery, which a restart would only begin anew; and without it the site cannot be healthy.
    else if ($2 == "unhealthy" && $3 >= UNHEALTHY && $1 ~ /^(web|live|worker|proxy)/ && state["db"] != "stopped" && state["db"] != "unhealthy") verb = "restart"
    else next
    if (tries[$1] >= TRIES_AN_HOUR) print "give-up", $1
    else if (!tries[$1] || now - last[$1] >= wait_after(tries[$1])) print verb, $1
}

# Not by ^: some awks are built without.
function wait_after(count,    seconds) {
    for (seconds = WAIT; count > 1; count--) seconds *= 2
    return seconds
}
