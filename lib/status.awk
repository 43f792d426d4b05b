# lib/status.awk: facts of status (lib/facts.sh) as a page.
# usage: awk -f lib/status.awk

BEGIN { FS = "\t" }

{
    value[$2] = $3
    mode = $2
    sub(/\..*/, "", mode)
    if (!(mode in seen)) { seen[mode]; modes[++mode_count] = mode }
    if ($2 ~ /\.services\.[^.]*\.state$/) {
        split($2, part, ".")
        services[mode, ++service_count[mode]] = part[3]
    }
    if ($2 ~ /\.memory\.[^.]*\.limit$/) {
        split($2, part, ".")
        used = value[mode ".memory." part[3] ".used"]
        before = mode in memory ? memory[mode] ", " : ""
        memory[mode] = before part[3] " " bytes(used) " of " bytes($3)
    }
}

END {
    for (i = 1; i <= mode_count; i++) {
        mode = modes[i]
        if (mode == "format") continue
        if (mode == "docker") print "Docker: " value["docker.problem"]
        else show(mode, mode ".")
    }
}

function verified(answer) { # of a set; what an older kit wrote is neither
    return answer == "yes" ? ", verified" : answer == "no" ? ", not verified yet" : ""
}

function show(mode, at,    i, name) {
    printf "%-12s %s\n", mode, value[at "summary"]
    for (i = 0; (at "problems." i ".what") in value; i++)
        printf "  --   %s\n       next: %s\n", value[at "problems." i ".what"], value[at "problems." i ".next"]
    for (i = 1; i <= service_count[mode]; i++) {
        name = services[mode, i]
        row(name, sprintf("%-10s %s", value[at "services." name ".state"], value[at "services." name ".where"]))
    }
    if (mode in memory) row("memory", memory[mode])
    if ((at "disk.free") in value)
        row("disk", bytes(value[at "disk.free"]) " of " bytes(value[at "disk.size"]) " free (" value[at "disk.path"] ")")
    for (i = 0; (at "certificates." i ".name") in value; i++)
        row("certificate", certificate(at "certificates." i "."))
    if (value[at "release.number"] != "")
        row("release", value[at "release.number"] ", of " value[at "release.began"] " by " value[at "release.by"])
    if (value[at "backup.path"] != "")
        row("backup", value[at "backup.path"] ", of " value[at "backup.time"] " (" bytes(value[at "backup.size"]) ")" verified(value[at "backup.verified"]) \
            (value[at "backup.bucket"] != "" ? ", without the uploads in the bucket " value[at "backup.bucket"] : ""))
    if (value[at "archive.state"] != "" && value[at "archive.state"] != "off")
        row("archive", value[at "archive.state"] (value[at "archive.sync"] == "yes" ? ", commits wait for it" : "") (value[at "archive.from"] != "" ? ", from " time(value[at "archive.from"]) " on" : ", no base backup yet"))
    if (value[at "upgrade.next"] != "")
        row("upgrade", "on " value[at "upgrade.live"] (value[at "upgrade.other"] != "" ? ", beside " value[at "upgrade.other"] : "") "; next: " value[at "upgrade.next"])
    if (value[at "offsite.copied"] != "")
        row("offsite", value[at "offsite.place"] ", sets: " value[at "offsite.sets"] ", copied " value[at "offsite.copied"] ", read back " value[at "offsite.restored"])
    for (i = 0; (at "jobs." i ".name") in value; i++)
        row("job", job(at "jobs." i "."))
    if ((at "watch.tells") in value)
        row("watch", (value[at "watch.looked"] == "" ? "has not looked yet" : "looked at " value[at "watch.looked"]) ", tells " value[at "watch.tells"])
    if ((at "tasks.waiting") in value)
        row("tasks", value[at "tasks.waiting"] " waiting" (value[at "tasks.oldest"] != "" ? " (the oldest for " value[at "tasks.oldest"] " s)" : "") ", " value[at "tasks.running"] " running, " value[at "tasks.failed"] " failed in the last 24 hours")
    if ((at "requests.answers") in value)
        row("requests", value[at "requests.answers"] " in the last " value[at "requests.minutes"] " minutes, of which " value[at "requests.errors"] " failed" (value[at "requests.open"] != "" ? "; " value[at "requests.open"] " under way" : ""))
    if ((at "visitors") in value)
        row("visitors", "get " (value[at "visitors"] != "" ? value[at "visitors"] : "no answer"))
}

function row(name, text) {
    sub(/ +$/, "", text)
    printf "  %-10s %s\n", name, text
}

function job(at,    ended) {
    if (value[at "began"] == "") return value[at "name"] " (" value[at "when"] "), has not run yet"
    ended = (at "exit") in value ? " after " value[at "seconds"] " s" : ""
    return value[at "name"] " (" value[at "when"] "), " value[at "state"] ended ", of " value[at "began"]
}

function certificate(at) {
    if (value[at "issuer"] == "") return value[at "name"] " has none yet"
    return value[at "name"] ", by " value[at "issuer"] (value[at "days"] != "" ? ", " value[at "days"] " days left" : "")
}

function time(name) { # of a base backup: 20261130T184500Z
    return substr(name, 1, 4) "-" substr(name, 5, 2) "-" substr(name, 7, 2) " " substr(name, 10, 2) ":" substr(name, 12, 2) " UTC"
}

function bytes(count) {
    if (count >= 10 * 1073741824) return sprintf("%.0f GB", count / 1073741824)
    if (count >= 1073741824) return sprintf("%.1f GB", count / 1073741824)
    return sprintf("%.0f MB", count / 1048576)
}
