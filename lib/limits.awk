# lib/limits.awk: from which number on something is a problem (lib/checks.awk). ALERT_LIMITS in .env has others: NAME=NUMBER with
# spaces between them; 0 is never. docs/alerts.md has the same table for people.

function read_limits(given,    pairs, pair, i) {
    limit["connections_percent"] = 90  # of POSTGRES_MAX_CONNECTIONS
    limit["disk_hours"] = 24           # until the disk is full, at the rate of the last hours
    limit["disk_mb"] = 1000            # free; a release needs as many
    limit["errors_percent"] = 1        # of the answers of the last minutes
    limit["image_days"] = 90           # the age of a base image
    limit["logins"] = 30               # failed ones in the last minutes
    limit["memory_percent"] = 95       # of the machine's
    limit["restarts"] = 1              # of a container in ten minutes
    limit["slow_percent"] = 20         # of the answers of the last minutes, which took more than 2 s
    limit["task_seconds"] = 600        # that a task waits
    limit["transaction_minutes"] = 30  # that a transaction is open
    limit["wraparound_percent"] = 50   # of the transaction numbers that PostgreSQL has
    for (i = split(given, pairs, " "); i > 0; i--) {
        split(pairs[i], pair, "=")
        limit[pair[1]] = pair[2] + 0
    }
}
