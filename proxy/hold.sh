# proxy/hold.sh: runs in the proxy's container, where requests wait while /tmp/hold has a 1 in it, and those that come while
# /tmp/patient has one wait for as long as 30 s (proxy/Caddyfile).
# usage: sh hold.sh hold SECONDS    hold requests until the input ends, but no longer than that
#        sh hold.sh held            true while they are held
#        sh hold.sh end             let them through

# Requests that come have patience before the first of them has to wait: else one on its way between the two looks of Caddy, for
# its patience and for the port, would be told after 5 s that the site is not there. And after the last.
PATIENT_SECONDS=0.5

let_through() {
    : >/tmp/hold
    : >/tmp/patient
}

case $1 in
hold)
    # A hold that was left behind, whose command goes on, must not end the hold that came after it.
    echo $$ >/tmp/holder
    trap '[ "$(cat /tmp/holder)" != $$ ] || let_through' EXIT
    trap 'exit 0' HUP INT TERM
    printf 1 >/tmp/patient
    sleep "$PATIENT_SECONDS"
    printf 1 >/tmp/hold
    timeout "$2" cat >/dev/null || true
    ;;
held) [ "$(cat /tmp/hold)" = 1 ] ;;
end) let_through ;;
esac
