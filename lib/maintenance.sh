# lib/maintenance.sh: a page for everybody in place of the site. The state is files that Caddy looks for at each request
# (proxy/Caddyfile), so it needs no proxy that runs, and survives every restart:
#
#   page.html     what visitors get; maintenance is on while it exists
#   key           who has it as a cookie gets the site
#   allowed/*     an address as the name of a file: who asks from there gets the site too
#   since         when it was turned on, for status

OWN_PAGE="$ROOT/web/maintenance.html"
LONGEST_PAGE=1000000 # bytes; Caddy reads no more than 1 MiB of a file

maintenance_folder() {
    printf '%s/maintenance' "$(live_folder)"
}

maintenance_is_on() {
    [ -e "$(maintenance_folder)/page.html" ]
}

maintenance_since() {
    cat "$(maintenance_folder)/since" 2>/dev/null || true
}

maintenance_link() {
    printf '%s?maintenance_key=%s' "$(production_address)" "$(cat "$(maintenance_folder)/key")"
}

remind_of_maintenance() {
    ! maintenance_is_on || say "  note   maintenance is on: visitors get its page. End it: sh run.sh maintenance off"
}

# The page last: from then on it counts, and what lets its own people in is there.
start_maintenance() { # start_maintenance PAGE [ADDRESS...]
    start_folder=$(maintenance_folder)
    start_page=$1
    shift
    make_live_folder && mkdir -p "$start_folder/allowed" && chmod 755 "$start_folder" "$start_folder/allowed" || return 1
    for start_address in "$@"; do
        put_file "allowed/$start_address" "" || return 1
    done
    [ -s "$start_folder/key" ] || put_file key "$(random_word 32)" || return 1
    maintenance_is_on || put_file since "$(date '+%Y-%m-%d %H:%M')" || return 1
    cat "$start_page" >"$start_folder/page.html.new" && chmod 644 "$start_folder/page.html.new" && mv "$start_folder/page.html.new" "$start_folder/page.html"
}

put_file() { # put_file NAME TEXT: one that the proxy's own user can read
    printf '%s' "$2" >"$start_folder/$1.new" && chmod 644 "$start_folder/$1.new" && mv "$start_folder/$1.new" "$start_folder/$1"
}

stop_maintenance() { # the page first, for the same reason
    rm -f "$(maintenance_folder)/page.html" && rm -rf "$(maintenance_folder)"
}

# As Caddy writes it: no zeros that can go, and small letters. False for what is no address.
canonical_address() { # canonical_address ADDRESS
    case $1 in
    *[!0-9A-Fa-f.:]*) return 1 ;;
    *:*) canonical_found=$(short_ipv6 "$1") ;;
    *) canonical_found=$(printf '%s\n' "$1" | awk -F . 'NF == 4 { for (i = 1; i <= 4; i++) if ($i !~ /^[0-9]+$/ || $i > 255) exit; print $1 + 0 "." $2 + 0 "." $3 + 0 "." $4 + 0 }') ;;
    esac
    [ -n "$canonical_found" ] && printf '%s' "$canonical_found"
}

short_ipv6() { # short_ipv6 ADDRESS; without getent it has to be given in this form
    if command -v getent >/dev/null 2>&1; then getent ahostsv6 "$1" 2>/dev/null; else printf '%s\n' "$1" | tr '[:upper:]' '[:lower:]'; fi |
        awk 'NR == 1 { sub(/^::ffff:/, $1 ~ /\./ ? "" : "&", $1); print $1 }'
}
