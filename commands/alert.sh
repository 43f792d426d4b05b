# commands/alert.sh: send a test to everybody whom alerts go to, and show what each answered (docs/alerts.md).
# usage: sh run.sh alert test
#
# Alerts go to ALERT_WEBHOOKS and ALERT_EMAIL in .env, and to hooks/alert. HEARTBEAT_URL is pinged as well. Exits with 1 if
# one of them did not take it.

main() {
    case "$#${1-}" in
    1test) ;;
    *) usage_error "alert takes one argument: test" ;;
    esac
    read_environment
    [ -n "$ALERT_WEBHOOKS$ALERT_EMAIL$HEARTBEAT_URL" ] || has_hook alert ||
        fail "there is nobody to tell" "set ALERT_WEBHOOKS or ALERT_EMAIL in .env, or write hooks/alert (docs/alerts.md)"
    tell_alert test "$(site_of_alert): a test of its alerts" "This is a test. If you can read this, alerts arrive." "$HEARTBEAT_URL" || true
    show_told
    ! printf '%s\n' "$TOLD" | grep -q '^failed=' ||
        fail "not all of them took it" "correct what their answers name, in .env or hooks/alert; then run: sh run.sh alert test"
}
