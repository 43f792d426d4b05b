# lib/checks.awk: which numbers of a look are problems. Nothing but facts and samples goes in, so the same look gives the same.
# usage: awk -v at=production -v flag=-0 -v now=SECONDS -v limits="$ALERT_LIMITS" -f lib/limits.awk -f lib/checks.awk SAMPLES facts=yes -
#
# The input is the facts of a look (lib/facts.sh). SAMPLES has a line for each look before it: SECONDS KEY=VALUE...
# It prints NAME, WHAT and NEXT, a line each, of every problem.

BEGIN {
    FS = "\t"
    FEW = 5            # requests that fail, or are slow, are bad luck
    AN_HOUR = 3600     # a trend counts if it holds for that long
    RECENT = 600       # seconds in which restarts are counted, and for which a jump of the clock is told
    JUMP = 5           # seconds
    FEW_PERCENT = 3    # of the machine's memory
    read_limits(limits)
}

!facts { samples++; sample[samples] = $0; next }

index($2, at ".") == 1 { value[substr($2, length(at) + 2)] = $3 }

END {
    read_samples()
    check_disk()
    check_requests()
    check_restarts()
    check_memory()
    check_database()
    check_tasks()
    check_machine()
    check_images()
}

function problem(name, what, remedy) {
    print name
    print what
    print remedy
}

function known(key) { return value[key] != "" }

# KEY is more than what the limit allows; one that is 0 is never reached.
function above(key, name) { return known(key) && limit[name] > 0 && value[key] + 0 > limit[name] }

# --- What was seen before -------------------------------------------------------------------------------------------

function read_samples(    i, j, count, word, pair, time) {
    for (i = 1; i <= samples; i++) {
        count = split(sample[i], word, " ")
        time = word[1] + 0
        if (time >= now) continue # the clock was wrong then
        for (j = 2; j <= count; j++) {
            split(word[j], pair, "=")
            if (pair[1] == "disk") {
                if (!oldest_time) { oldest_time = time; oldest_free = pair[2] }
                if (time <= now - AN_HOUR) { hour_time = time; hour_free = pair[2] }
            }
            if (time < now - RECENT) continue
            # A container that was made or started anew counts from 0 again.
            if (pair[1] ~ /^restarts[.]/) count_restart(substr(pair[1], 10), pair[2] + 0)
            if (pair[1] == "boot") note_boot(pair[2])
            if (pair[1] == "started") note_start(pair[2] + 0)
        }
    }
    for (i in value) if (i ~ /^restarts[.]/) count_restart(substr(i, 10), value[i] + 0)
    note_boot(value["machine.boot"])
    if (known("machine.started")) note_start(value["machine.started"] + 0)
}

function count_restart(name, number) {
    if (name in last_count && number > last_count[name]) restarted[name] += number - last_count[name]
    last_count[name] = number
}

# What the clock says now, less the seconds that the machine runs: from one boot to the next it stays the same unless somebody
# sets the clock.
function note_start(started) {
    if (last_start && (started - last_start > JUMP || last_start - started > JUMP)) jumped = started - last_start
    last_start = started
}

function note_boot(boot) {
    if (boot != last_boot) last_start = 0
    last_boot = boot
}

# --- The checks -----------------------------------------------------------------------------------------------------

function check_disk(    rate, rate_of_hour, hours) {
    if (!known("disk.free")) return
    if (limit["disk_mb"] > 0 && value["disk.free"] < limit["disk_mb"] * 1048576) {
        problem("disk", "the disk of " value["disk.path"] " has less than " limit["disk_mb"] " MB left" (limit["disk_mb"] == 1000 ? ", which a release needs" : ""), "free some disk space (docker image prune, docker builder prune)")
        return
    }
    if (!hour_time || limit["disk_hours"] == 0) return
    # A backup fills much in a minute, and a log little for hours: what holds over both times counts.
    rate = (oldest_free - value["disk.free"]) / (now - oldest_time)
    rate_of_hour = (hour_free - value["disk.free"]) / (now - hour_time)
    if (rate_of_hour < rate) rate = rate_of_hour
    if (rate <= 0) return
    hours = value["disk.free"] / rate / 3600
    if (hours < limit["disk_hours"])
        problem("disk-trend", sprintf("the disk of %s will be full in %.0f hours if it fills up as it does now", value["disk.path"], hours), "find out what grows: du -xh / | sort -h | tail; then free some disk space (docker image prune, docker builder prune)")
}

function check_requests(    answers) {
    answers = value["requests.answers"] + 0
    if (limit["errors_percent"] > 0 && value["requests.errors"] >= FEW && value["requests.errors"] * 100 > answers * limit["errors_percent"])
        problem("errors", value["requests.errors"] " of " answers " requests failed in the last " value["requests.minutes"] " minutes", "find out why: sh run.sh -0 logs web")
    if (limit["slow_percent"] > 0 && value["requests.slow"] >= FEW && value["requests.slow"] * 100 > answers * limit["slow_percent"])
        problem("slow", value["requests.slow"] " of " answers " answers took more than 2 s in the last " value["requests.minutes"] " minutes", "find out which pages: sh run.sh -0 logs web; and what the machine does: top")
    if (above("requests.logins", "logins"))
        problem("logins", value["requests.logins"] " logins failed in the last " value["requests.minutes"] " minutes", "find out from where: sh run.sh -0 logs web; docs/security.md says what limits them")
}

function check_restarts(    name) {
    for (name in restarted)
        if (limit["restarts"] > 0 && restarted[name] >= limit["restarts"])
            problem("restarts-" name, name " ended by itself and was started again, " restarted[name] " times in ten minutes", "find out why it ends: sh run.sh -0 logs " service_name(name))
}

function service_name(name) {
    sub(/-.*/, "", name)
    return name
}

function check_memory(    used) {
    if (!known("machine.memory") || value["machine.memory"] == 0 || limit["memory_percent"] == 0) return
    used = 100 - value["machine.available"] * 100 / value["machine.memory"]
    if (used > limit["memory_percent"])
        problem("memory", sprintf("%.0f %% of this machine's memory is in use", used), "find out by what: docker stats; set limits (WEB_MEMORY, DB_MEMORY in .env), or add memory")
}

function check_database(    share) {
    if (value["database.connections_limit"] > 0) {
        share = value["database.connections"] * 100 / value["database.connections_limit"]
        if (limit["connections_percent"] > 0 && share >= limit["connections_percent"])
            problem("connections", value["database.connections"] " of PostgreSQL's " value["database.connections_limit"] " connections are in use", "find out by whom: sh run.sh -0 psql -c 'TABLE pg_stat_activity'; or raise POSTGRES_MAX_CONNECTIONS in .env")
    }
    if (known("database.transaction") && limit["transaction_minutes"] > 0 && value["database.transaction"] > limit["transaction_minutes"] * 60)
        problem("transaction", "a transaction has been open for " int(value["database.transaction"] / 60) " minutes, which keeps PostgreSQL from cleaning up", "find it, and end it with pg_terminate_backend: sh run.sh -0 psql -c 'SELECT pid, xact_start, state, query FROM pg_stat_activity ORDER BY 2'")
    if (value["database.read_only"] == 1)
        problem("read-only", "PostgreSQL refuses all writes, because its disk is full", "free some disk space (docker image prune, docker builder prune); it takes writes again by itself within seconds")
    if (above("database.wraparound", "wraparound_percent"))
        problem("wraparound", value["database.wraparound"] " % of the transaction numbers are used up; PostgreSQL stops writing at 100", "let it clean up at a quiet time: sh run.sh -0 psql -c VACUUM; end old transactions first")
}

function check_tasks() {
    if (above("tasks.oldest", "task_seconds"))
        problem("tasks-waiting", "a task has been waiting for " value["tasks.oldest"] " s", "find out what the worker does: sh run.sh " flag " logs worker; for more at once, raise TASKS_CONCURRENCY in .env")
    if (value["tasks.failed"] > 0)
        problem("tasks-failed", value["tasks.failed"] " tasks failed in the last 24 hours", "find out why: sh run.sh " flag " logs worker")
    if (value["tasks.unknown"] > 0)
        problem("tasks-unknown", value["tasks.unknown"] " tasks are kept that no worker knows by name", "release the code that has them: sh run.sh " flag " (docs/tasks.md)")
}

function check_machine(    way) {
    way = jumped < 0 ? "back" : "forward"
    if (jumped)
        problem("clock", "the clock of this machine was set " way " by " (jumped < 0 ? -jumped : jumped) " s", "let a time service keep it right: timedatectl set-ntp true")
    else if (value["machine.clock"] == "unsynchronized")
        problem("clock", "no time service keeps the clock of this machine right", "turn one on: timedatectl set-ntp true")
    if (value["machine.reboot"] == "required")
        problem("reboot", "an update of this machine counts only after a reboot", "at a quiet time: sudo reboot (production starts again by itself: sudo sh run.sh service install)")
}

function check_images(    key, name) {
    for (key in value)
        if (key ~ /^images[.].*[.]days$/ && above(key, "image_days")) {
            name = key
            gsub(/^images[.]|[.]days$/, "", name)
            problem("image-" name, "the base image of " name " is " value[key] " days old, and lacks the security fixes since then", "pull it (README.md, \"Day two\"), then release: sh run.sh -0")
        }
}
