# lib/certificate.sh: production's HTTPS. Do the names of DOMAIN lead here, and has Caddy certificates for them?

# Before anything changes. Where there is a certificate the name has led here, and a hitch of the DNS stops no release.
# With a proxy in front the name leads to that.
require_domain_leads_here() {
    if [ -n "$TRUSTED_PROXIES" ] || [ "$DOMAIN_CHECK" = off ]; then return 0; fi
    command -v getent >/dev/null 2>&1 || return 0
    for domain_name in $(own_domains); do require_leads_here "$domain_name"; done
}

require_leads_here() { # require_leads_here NAME
    if caddy_is_authority "$1" || has_certificate "$1" || had_certificate "$1"; then return 0; fi
    domain_addresses=$(addresses_of "$1")
    [ -n "$domain_addresses" ] ||
        fail "$1 (DOMAIN in .env) does not resolve to any address" \
            "create an A record that points to this machine, wait until 'getent hosts $1' shows it, then run: sh run.sh -0; to serve without this name, remove it from DOMAIN"
    ! leads_here "$domain_addresses" || return 0
    domain_own=$(own_addresses | public_addresses)
    if [ -z "$domain_own" ]; then
        warn "cannot check whether $1 ($(one_line "$domain_addresses")) points to this machine, which has only private addresses. Check its A record."
        return 0
    fi
    fail "$1 (DOMAIN in .env) resolves to $(one_line "$domain_addresses"), but this machine is $(one_line "$domain_own")" \
        "point its A and AAAA records to this machine, then run: sh run.sh -0; if that address is a load balancer or CDN in front of it, name its addresses in TRUSTED_PROXIES in .env"
}

# Who asks for one of these is only sent on to DOMAIN, so they keep no version from serving.
get_other_certificates() {
    for certificate_name in $(own_domains | tail -n +2); do
        has_certificate "$certificate_name" ||
            try "Get a certificate for $certificate_name" wait_until "$START_TIMEOUT" has_certificate "$certificate_name" ||
            warn "$certificate_name has no certificate, so browsers cannot open it by HTTPS: $(certificate_reason)"
    done
}

# For these names Caddy makes certificates itself, and asks nobody.
caddy_is_authority() { # caddy_is_authority NAME
    case $1 in localhost | *.localhost | *.local | *.internal | *.home.arpa) ;; *) return 1 ;; esac
}

addresses_of() { # addresses_of NAME: one a line, IPv4 and IPv6
    getent ahosts "$1" 2>/dev/null | awk '{ print $1 }' | sort -u
}

own_addresses() { # one a line
    { ip -o addr 2>/dev/null || hostname -I 2>/dev/null | tr ' ' '\n'; } |
        awk '{ address = NF > 3 ? $4 : $1; sub(/\/.*/, "", address); if (address != "") print address }'
}

public_addresses() { # of those on standard input
    grep -Ev '^(127\.|10\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|169\.254\.|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.|::1$|f[cd]|fe[89ab])' || true
}

leads_here() { # leads_here ADDRESSES: one of them is this machine's
    [ -n "$1" ] && own_addresses | grep -qxF -e "$1"
}

one_line() { # one_line LINES
    printf '%s\n' "$1" | awk '{ printf "%s%s", separator, $0; separator = ", " }'
}

own_domains() { # the names that .env has, one a line, DOMAIN first
    printf '%s\n' "$DOMAIN,$POSTDO_OTHER_NAMES" | tr ',' '\n' | awk 'NF && !seen[$0]++'
}

# HTTPS is served for DOMAIN, and for names that redirect to it: the other ones of .env, that of shop.example and
# www.shop.example which .env has not, once it leads here too, and the former DOMAIN. These two are kept, so that every command sees the same proxy, whatever the DNS says;
# and until a new DOMAIN has its certificate, the site is served under the old one.
served_names() { # one a line, DOMAIN first; empty without one
    serves_https || return 0
    {
        own_domains
        cat "$(live_folder)/names" 2>/dev/null || true
    } | tr '[:upper:]' '[:lower:]' | awk '!seen[$0]++'
}

note_name() { # note_name NAME
    make_live_folder
    grep -qxF -e "$1" "$(live_folder)/names" 2>/dev/null || printf '%s\n' "$1" >>"$(live_folder)/names"
}

note_twin() {
    twin_name=$(twin_of "$DOMAIN")
    if [ -z "$twin_name" ] || ! leads_here "$(addresses_of "$twin_name")"; then return 0; fi
    note_name "$twin_name"
}

twin_of() { # twin_of NAME: empty for names that have none
    case $1 in
    www.*.*) printf '%s' "${1#www.}" ;;
    *.*) printf 'www.%s' "$1" ;;
    esac
}

has_certificate() { # has_certificate NAME: one that is good today
    certificate_left=$(certificate_days "$1")
    [ -n "$certificate_left" ] && [ "$certificate_left" -ge 0 ]
}

had_certificate() { # had_certificate NAME: nobody can look while the proxy is stopped (lead_to_https)
    ! is_running prod proxy && [ -e "$(live_folder)/https-$1" ]
}

certificate_days() { # certificate_days NAME: for how many days; empty if there is none
    # shellcheck disable=SC2016 # for the shell in the container
    ask_proxy 'cat "$(ls -t /data/caddy/certificates/*/"$1/$1.crt" | head -n 1)"' "$1" |
        sed -n '/BEGIN/,/END/p; /END/q' | sed '/-----/d' | base64 -d 2>/dev/null | od -An -v -tx1 | tr -d ' \n' |
        awk -v TODAY="$(date -u +%Y%m%d)" -f "$ROOT/lib/certificate.awk"
}

certificate_issuer() { # certificate_issuer NAME: Caddy keeps certificates in a folder for each
    # shellcheck disable=SC2016
    issuer_file=$(ask_proxy 'ls -t /data/caddy/certificates/*/"$1/$1.crt" | head -n 1' "$1")
    issuer_file=${issuer_file#/data/caddy/certificates/}
    case ${issuer_file%%/*} in
    local) printf "Caddy's own authority, which browsers do not trust" ;;
    *staging*) printf "Let's Encrypt's test authority, which browsers do not trust" ;;
    *letsencrypt*) printf "Let's Encrypt" ;;
    *zerossl*) printf ZeroSSL ;;
    *) printf '%s' "${issuer_file%%/*}" ;;
    esac
}

ask_proxy() { # ask_proxy SCRIPT ARGUMENT: quiet, and empty without a proxy
    proxy_container=$(container_of prod proxy)
    [ -z "$proxy_container" ] || in_time docker exec "$proxy_container" sh -c "$1" sh "$2" 2>/dev/null || true
}

describe_certificate() { # describe_certificate NAME: in one line
    describe_days=$(certificate_days "$1")
    if [ -z "$describe_days" ]; then
        printf '%s has none yet: %s' "$1" "$(certificate_reason)"
    elif caddy_is_authority "$1"; then
        printf '%s, by %s' "$1" "$(certificate_issuer "$1")"
    else
        printf '%s, by %s, %s days left' "$1" "$(certificate_issuer "$1")" "$describe_days"
    fi
}

certificate_problem() { # certificate_problem NAME: WHAT and REMEDY, a line each, or nothing; Caddy renews when a third is left
    problem_days=$(certificate_days "$1")
    if [ -n "$problem_days" ] && { caddy_is_authority "$1" || [ "$problem_days" -ge 7 ]; }; then return 0; fi
    problem_what="$1 has no certificate: $(certificate_reason)"
    [ -z "$problem_days" ] || problem_what="the certificate of $1 expires in $problem_days days and has not been renewed: $(certificate_reason)"
    printf '%s\n' "$problem_what" "$(certificate_remedy)"
}

certificate_remedy() {
    printf 'open ports 80 and 443 of this machine to the internet, then run: sh run.sh -0'
}

# Caddy says in its log (JSON, a line each) what the authority has said.
certificate_reason() {
    reason_container=$(container_of prod proxy)
    [ -n "$reason_container" ] || { printf 'the proxy is not running' && return; }
    reason_found=$(docker logs --tail 500 "$reason_container" 2>&1 |
        sed -n '/"level":"error"/{/"logger":"tls[.\"]/s/.*"error":"\(.*\)/\1/p;}' | sed 's/","[a-z_]*":.*//; s/"}$//; s/\\"/"/g' | tail -n 1)
    printf '%s' "${reason_found:-Caddy has logged no error; a new certificate can take a minute}"
}
