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
    # A run that was killed may have left the key and the addresses of an earlier time.
    maintenance_is_on || rm -rf "$start_folder" || return 1
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

# As Caddy writes it. False for what is no address.
canonical_address() { # canonical_address ADDRESS
    canonical_found=$(printf '%s\n' "$1" | LC_ALL=C awk -f "$ROOT/lib/address.awk")
    [ -n "$canonical_found" ] && printf '%s' "$canonical_found"
}
