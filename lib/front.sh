# lib/front.sh: a proxy in front of production's own (TRUSTED_PROXIES): whose X-Forwarded-* headers count.

trusted_ranges() { # what TRUSTED_PROXIES stands for, as Caddy takes it: addresses and ranges with spaces between them
    front_ranges=
    for front_item in $(printf '%s' "$TRUSTED_PROXIES" | tr ',' ' '); do
        case $front_item in
        private) front_item=private_ranges ;;
        cloudflare) front_item=$(sed 's/#.*//' "$ROOT/proxy/cloudflare.txt" | xargs) ;;
        esac
        front_ranges="$front_ranges${front_ranges:+ }$front_item"
    done
    printf '%s' "$front_ranges"
}

# Docker hands a visitor by IPv6 to the proxy from the gateway of its own network, which is a private address.
warn_of_trusted_visitors() {
    case ",$TRUSTED_PROXIES," in *,private,*) ;; *) return 0 ;; esac
    ! engine_is_rootless ||
        warn "TRUSTED_PROXIES=private also trusts every visitor if rootless Docker passes them on from its own address. Name your proxy's own address instead."
    ! own_addresses | public_addresses | grep -q : ||
        warn "TRUSTED_PROXIES=private also trusts visitors who reach this machine by IPv6. Name your proxy's own address instead."
}
