# lib/check.awk: which values of the environment cannot work. Prints WHAT and REMEDY, a line each, for the first one.
# No {n,m} in the patterns: the awk of Debian 12 (mawk 1.3.4) does not know it.

# Where the value was written that counts. `given`: the keys that the environment had before .env was read.
function place(key) {
    return index(given, " " key " ") ? "the environment" : ".env"
}

function remedy_of(key, remedy) {
    return remedy (index(given, " " key " ") ? ", or unset " key " to use the line in .env" : "")
}

function rule(key, pattern, allowed,    value) {
    value = ENVIRON[key]
    if (value ~ pattern) return
    if (key ~ /PASSWORD$|SECRET|PASSPHRASE|EMAIL_URL|ALERT_WEBHOOKS|HEARTBEAT_URL|SENTRY_DSN/ && key !~ /UPDATE/) value = value == "" ? "is empty" : "is not valid (it is not shown here)"
    else value = value == "" ? "is empty" : "is '" value "'"
    refuse(key " in " place(key) " " value, remedy_of(key, "set it to " allowed))
}

# A limit below LEAST megabytes: Docker takes it, and the kernel kills what runs in it, again and again.
function memory(key, least, example,    value, size) {
    value = ENVIRON[key]
    size = value + 0
    if (value ~ /k$/) size = size / 1024
    if (value ~ /g$/) size = size * 1024
    if (value == "0" || (value ~ /^[1-9][0-9]*[kmg]$/ && size >= least)) return
    refuse(key " in " place(key) " is " (value == "" ? "empty" : "'" value "'"), remedy_of(key, "set it to a size from " least "m, such as " example ", or 0 for no limit"))
}

function refuse(what, remedy) {
    if (refused++) return
    print what
    print remedy
}

function ports(names,    count, list, i, value, seen) {
    count = split(names, list, " ")
    for (i = 1; i <= count; i++) {
        value = ENVIRON[list[i]]
        if (value !~ /^[1-9][0-9]*$/ || value + 0 > 65535)
            refuse(list[i] " in " place(list[i]) " is '" value "'", remedy_of(list[i], "set it to a port from 1 to 65535"))
        if (list[i] == "FLOWER_PORT" && !part_is_on("tasks")) continue
        if (list[i] == "METRICS_PORT" && !part_is_on("metrics")) continue
        if (value in seen)
            refuse(list[i] (place(list[i]) == place(seen[value]) ? "" : " in " place(list[i])) " and " seen[value] " in " place(seen[value]) " are both " value, "give each its own port")
        seen[value] = list[i]
    }
}

function part_is_on(name) {
    return index("," ENVIRON["COMPOSE_PROFILES"] ",", "," name ",") > 0
}

BEGIN {
    label = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
    rule("PROJECT_NAME", "^[a-z0-9][a-z0-9_-]*$", "lower-case letters, digits, - and _, with a letter or digit first")
    rule("POSTGRES_USER", "^[a-z_][a-z0-9_]*$", "lower-case letters, digits and _")
    if (ENVIRON["POSTGRES_USER"] ~ /^(pg_.*|public|none|embedded_owner|postdo_(superuser|release|archive|mover|heir))$/)
        refuse("POSTGRES_USER in .env is '" ENVIRON["POSTGRES_USER"] "', which is reserved", "set it to another name, such as postdo")
    rule("DB_EXTENSIONS", "^([a-z][a-z0-9_-]*(,[a-z][a-z0-9_-]*)*)?$", "names separated by commas without spaces, such as postgis,vector, or leave it empty")
    rule("POSTGRES_DB", "^[a-z_][a-z0-9_]*$", "lower-case letters, digits and _")
    rule("POSTGRES_PASSWORD", "^[A-Za-z0-9_-]+$", "letters, digits, - and _ only, because it becomes part of a URL")
    rule("SECRET_KEY", "^................................", "a random text of at least 32 characters")
    if (ENVIRON["POSTDO_OTHER_NAMES"] != "") ENVIRON["DOMAIN"] = ENVIRON["DOMAIN"] "," ENVIRON["POSTDO_OTHER_NAMES"]
    name = label "(\\." label ")*"
    rule("DOMAIN", "^(" name "(," name ")*)?$", "host names separated by commas without spaces, the site's first, such as www.example.com,example.com, without http:// and port, or leave it empty")
    rule("DOMAIN_CHECK", "^(on|off)$", "on or off")
    octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    trusted = "(private|cloudflare|" octet "\\." octet "\\." octet "\\." octet "(/([1-9]|[12][0-9]|3[0-2]))?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(/([1-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?)"
    rule("TRUSTED_PROXIES", "^(" trusted "(," trusted ")*)?$", "addresses and ranges separated by commas without spaces, such as 10.0.0.7,10.1.0.0/16, or private or cloudflare, or leave it empty")
    # Without one, the site would send every visitor from plain HTTP to HTTPS, again and again.
    if (ENVIRON["DOMAIN"] != "" && ENVIRON["HTTPS_PORT"] == "" && ENVIRON["TRUSTED_PROXIES"] == "")
        refuse("HTTPS_PORT in " place("HTTPS_PORT") " is empty, but no proxy in front serves HTTPS for " ENVIRON["DOMAIN"], remedy_of("HTTPS_PORT", "set HTTPS_PORT to 443, or name that proxy in TRUSTED_PROXIES"))
    # Lists are read by the project in web/: the starter splits them at spaces too, others at the commas alone.
    # Without underscores: Django answers 400 to every name that has one, whatever the list says.
    address = "([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+\\])"
    host = "(\\*|" address ")?"
    rule("ALLOWED_HOSTS", "^" host "(," host ")*$", "host names separated by commas without spaces, such as www.example.com,.example.org (the dot includes its subdomains), without http://, port, path and underscore")
    origin = "(https?://(\\*\\.)?" address "(:[0-9]+)?)?"
    rule("CSRF_TRUSTED_ORIGINS", "^" origin "(," origin ")*$", "origins separated by commas without spaces, such as https://shop.example.com: http:// or https://, a host name, and if needed a port")
    # A password may have an @ of its own: the last one counts. Brackets are of addresses of IPv6: no reader of URLs takes others.
    server = "([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]*)?/?"
    rule("EMAIL_URL", "^(smtp(s|[+]tls|[+]ssl)?://([^][/?# ]+@)?" server ")?$", "smtp+tls://USER:PASSWORD@HOST:587, or smtps:// for port 465 (.env.example says how to write a / in the password), or leave it empty")
    rule("DEFAULT_FROM_EMAIL", "^([^<>]+<[^<>@ ]+@[^<>@ ]+>|[^<>@ ]+@[^<>@ ]+)?$", "an e-mail address, such as shop@example.com or Shop <shop@example.com>, or leave it empty")
    s3 = part_is_on("s3") && mode == "prod" # then none of them may be empty
    rule("S3_ENDPOINT", "^(https?://[A-Za-z0-9.-]+(:[1-9][0-9]*)?/?)" (s3 ? "" : "?") "$", "the address of the object store, such as https://s3.eu-central-1.amazonaws.com")
    rule("S3_REGION", "^[a-z0-9-]+$", "a region, such as eu-central-1; us-east-1 where the store has none")
    rule("S3_BUCKET", "^[a-z0-9.-]" (s3 ? "+" : "*") "$", "the name of a bucket: lower-case letters, digits, - and .")
    rule("S3_ACCESS_KEY", "^[^ ]" (s3 ? "+" : "*") "$", "the access key of the object store")
    rule("S3_SECRET_KEY", "^[^ ]" (s3 ? "+" : "*") "$", "the secret key of the object store")
    rule("DEV_BIND", "^([0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+|\\[[0-9a-fA-F:.]+\\])$", "an address of this machine, such as 127.0.0.1 or [::1]")
    rule("MAKEMIGRATIONS", "^(write|check|off)?$", "write, check or off, or leave it empty")
    rule("DJANGO_SUPERUSER_UPDATE_PASSWORD", "^(on|off)?$", "on or off")
    rule("ACCESS_LOG", "^(on|off)$", "on or off")
    rule("LOG_LEVEL", "^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$", "DEBUG, INFO, WARNING, ERROR or CRITICAL")
    rule("PROD_SETTINGS", "^[A-Za-z_][A-Za-z0-9_.]*$", "a Python module, such as config.settings.prod")
    rule("DEV_SETTINGS", "^[A-Za-z_][A-Za-z0-9_.]*$", "a Python module, such as config.settings.dev")
    rule("COMPOSE_PROFILES", "^([a-z0-9][a-zA-Z0-9_.-]*(,[a-z0-9][a-zA-Z0-9_.-]*)*)?$", "names separated by commas without spaces, or leave it empty")
    if (("," ENVIRON["COMPOSE_PROFILES"] ",") ~ /,tasks,/ && ("," ENVIRON["COMPOSE_PROFILES"] ",") ~ /,tasks-db,/)
        refuse("COMPOSE_PROFILES in " place("COMPOSE_PROFILES") " has both tasks and tasks-db", remedy_of("COMPOSE_PROFILES", "keep one of them: tasks has its queues in Redis, tasks-db in PostgreSQL"))
    rule("CELERY_APP", "^[A-Za-z_][A-Za-z0-9_.:]*$", "a Python module or package, such as config")
    rule("TASKS_POOL", "^(prefork|threads|gevent)$", "prefork, threads or gevent")
    rule("TASKS_CONCURRENCY", "^([1-9][0-9]*)?$", "a number of tasks, from 1, or leave it empty")
    rule("TASKS_QUEUES", "^([A-Za-z0-9_.-]+(,[A-Za-z0-9_.-]+)*)?$", "names separated by commas without spaces, or leave it empty")
    rule("TASK_SECONDS", "^[1-9][0-9]*$", "a number of seconds, from 1")
    rule("WSGI_APPLICATION", "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$", "MODULE:NAME, such as config.wsgi:application")
    rule("PYTHON_IMAGE", "^([a-z0-9][A-Za-z0-9._/:@-]*[A-Za-z0-9])?$", "the name of an image, such as python:3.13-slim, or leave it empty")
    rule("CADDY_IMAGE", "^[a-z0-9][a-z0-9._/:-]*[:@][A-Za-z0-9._:-]+$", "the name of an image with its version, such as caddy:2")
    rule("POSTGRES_IMAGE", "^[a-z0-9][a-z0-9._/:-]*[:@][A-Za-z0-9._:-]+$", "the name of an image with its version, such as postgres:18")
    rule("DB_WAIT_SECONDS", "^[1-9][0-9]*$", "a number of seconds, from 1")
    rule("START_TIMEOUT", "^[1-9][0-9]*$", "a number of seconds, from 1")
    rule("WEB_TIMEOUT", "^[1-9][0-9]*$", "a number of seconds, from 1")
    smoke = "/[^ =?]*([?][^ ]*|(=[1-5][0-9][0-9](:[^ ]+)?)?)" # a query may have a = of its own
    rule("SMOKE_PATHS", "^(" smoke "( +" smoke ")*)?$", "paths with spaces between them, such as / /shop/=200 /cart/=200:Basket")
    # Of five digits, none of them a zero in front: the shell calculates with it.
    rule("WATCH_SECONDS", "^(0|[1-9][0-9]?[0-9]?[0-9]?[0-9]?)$", "a number of seconds up to 99999, or 0")
    rule("DRAIN_SECONDS", "^(0|[1-9][0-9]?[0-9]?[0-9]?[0-9]?)$", "a number of seconds up to 99999, or 0")
    # A job's value becomes words of a command line, which no shell reads.
    clock = "([01][0-9]|2[0-3]):[0-5][0-9]"
    when = "(hourly|every +[1-9][0-9]?[0-9]?[mh]|daily( +" clock ")?|weekly( +(mon|tue|wed|thu|fri|sat|sun))?( +" clock ")?)"
    count = split(jobs, job, " ")
    for (i = 1; i <= count; i++)
        if (job[i] ~ /^SCHEDULE_[A-Z0-9_]+$/)
            rule(job[i], "^(" when " +[A-Za-z_][A-Za-z0-9_]*( +[A-Za-z0-9_@%+=:,./-]+)*)?$", "a time and a manage.py command without quotes, such as every 15m report, daily 03:30 report or weekly sun 03:30 report (docs/jobs.md)")
    rule("BACKUP_AT", "^(" clock ")?$", "a time such as 03:30, or leave it empty")
    rule("BACKUP_RECIPIENT", "^(age1[0-9a-z]+)?$", "a public key of age, such as age1..., or leave it empty (docs/backups.md)")
    rule("BACKUP_DAILY", "^[1-9][0-9]*$", "a number of days, from 1")
    rule("BACKUP_WEEKLY", "^(0|[1-9][0-9]*)$", "a number of weeks, or 0")
    rule("BACKUP_MONTHLY", "^(0|[1-9][0-9]*)$", "a number of months, or 0")
    webhook = "((slack|discord|telegram|ntfy|json)[+])?https?://[^ ,/]+[^ ,]*"
    rule("ALERT_WEBHOOKS", "^(" webhook "(," webhook ")*)?$", "addresses separated by commas without spaces, such as https://ntfy.sh/my-topic, or leave it empty")
    rule("ALERT_EMAIL", "^([^ ,@]+@[^ ,@]+(,[^ ,@]+@[^ ,@]+)*)?$", "e-mail addresses separated by commas without spaces, or leave it empty")
    if (ENVIRON["ALERT_EMAIL"] != "" && ENVIRON["EMAIL_URL"] == "")
        refuse("ALERT_EMAIL in " place("ALERT_EMAIL") " is set, but EMAIL_URL is empty, so no mail can be sent", remedy_of("ALERT_EMAIL", "set EMAIL_URL too, or leave ALERT_EMAIL empty"))
    rule("SENTRY_DSN", "^(https?://[^@/ ]+@[^@ ]+/[0-9]+)?$", "the DSN of a project, such as https://KEY@sentry.example.com/1, or leave it empty")
    rule("HEARTBEAT_URL", "^(https?://[^ ,]+)?$", "an address such as https://hc-ping.com/UUID, or leave it empty")
    limits = "(connections_percent|disk_hours|disk_mb|errors_percent|image_days|logins|memory_percent|restarts|slow_percent|task_seconds|transaction_minutes|wraparound_percent)=[0-9]+"
    rule("ALERT_LIMITS", "^(" limits "( +" limits ")*)?$", "limits of docs/alerts.md with spaces between them, such as disk_mb=5000 logins=100, or leave it empty")
    rule("OFFSITE", "^(s3:(https?://)?[^ @/]+/[^ @]+|sftp:[^ :/]+:[^ ]+|sftp://[^ /]+/[^ ]+|rest:https?://[^ @]+|/[^ ]+)?$", "s3:https://HOST/BUCKET/FOLDER, sftp:USER@HOST:/FOLDER, rest:https://HOST/FOLDER/ or an absolute path, without a login of S3 or REST (OFFSITE_USER), or leave it empty")
    rule("OFFSITE_USER", "^[^ ]*$", "the access key of S3, or the user of the REST server, or leave it empty")
    rule("OFFSITE_SECRET", "^[^ ]*$", "the secret key of S3, or the password of the REST server, or leave it empty")
    rule("OFFSITE_PASSPHRASE", "^([^ ][^ ][^ ][^ ][^ ][^ ][^ ][^ ][^ ][^ ][^ ][^ ]+)?$", "at least 12 characters without spaces, or leave it empty and run sh run.sh backup offsite, which makes one")
    rule("JOB_TIMEOUT", "^[1-9][0-9]*$", "a number of seconds, from 1")
    rule("KEEP_RELEASES", "^[1-9][0-9]*$", "a number of releases, from 1")
    rule("HSTS_SECONDS", "^[0-9]+$", "a number of seconds")
    rule("WEB_CONCURRENCY", "^([1-9][0-9]*)?$", "a number of processes, from 1, or leave it empty")
    rule("WEB_THREADS", "^([1-9][0-9]*)?$", "a number of threads, from 1, or leave it empty")
    rule("POSTGRES_MAX_CONNECTIONS", "^[1-9][0-9]+$", "a number from 10")
    rule("MAX_REQUEST_BODY", "^[1-9][0-9]*(KB|MB|GB)$", "a size such as 100MB")
    rule("HEALTH_PATH", "^/[A-Za-z0-9_./-]*$", "a path such as /readyz")
    rule("ACME_EMAIL", "^([^ @]+@[^ @]+)?$", "an e-mail address, or leave it empty")
    # Development's alone, and no reason to keep a server from starting. pgAdmin does not start with such an address.
    if (mode != "prod") {
        part = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
        rule("PGADMIN_DEFAULT_EMAIL", "^[A-Za-z0-9._%+-]+@(" part "\\.)+[A-Za-z][A-Za-z]+$", "an e-mail address whose domain has a dot, such as admin@example.com")
        if (ENVIRON["PGADMIN_DEFAULT_EMAIL"] ~ /\.(arpa|invalid|local|localhost|onion|test)$/)
            refuse("PGADMIN_DEFAULT_EMAIL in " place("PGADMIN_DEFAULT_EMAIL") " is '" ENVIRON["PGADMIN_DEFAULT_EMAIL"] "'", "set it to an address whose domain is not reserved, such as admin@example.com")
        rule("PGADMIN_DEFAULT_PASSWORD", "^......", "at least 6 characters")
    }
    # Tried out, with the starter and two CPUs. Two processes of Gunicorn are killed at 48m and serve at 64m; as much again
    # for a third one, and for uploads.
    memory("WEB_MEMORY", 128, "512m or 2g")
    # Up to 32m PostgreSQL does not start; up to 192m a query that fills its cache, which is never less than 128 MB
    # (db/postgresql.conf), ends it.
    memory("DB_MEMORY", 256, "512m or 2g")
    # Up to 24m Caddy starts, but not a second time beside itself, which is how it is told of a change; 32m do. As much
    # again for visitors and TLS.
    memory("PROXY_MEMORY", 64, "128m")
    # Chosen, not measured: a worker has Django once for each process, and whatever its tasks load.
    memory("WORKER_MEMORY", 256, "512m or 2g")
    memory("REDIS_MEMORY", 64, "256m")
    rule("REHEARSE", "^(full|schema|off)$", "full, schema or off")
    host = "[][A-Za-z0-9_./-]*[.:/][][A-Za-z0-9_.:/-]*"
    rule("REHEARSE_NETWORK", "^(block|allow|" host "(," host ")*)$", "block, allow, or hosts such as redis:6379")
    rule("REHEARSE_SECONDS", "^[1-9][0-9]*$", "a number of seconds, from 1")
    rule("REHEARSE_DUMP_MB", "^[0-9]+$", "a number of megabytes")
    rule("REHEARSE_MAX_MB", "^[0-9]+$", "a number of megabytes")
    rule("REHEARSE_MEMORY_MB", "^[0-9]+$", "a number of megabytes, or 0 for no limit")
    rule("ON_DRIFT", "^(allow|ask|refuse)$", "allow, ask or refuse")
    rule("ON_INCOMPATIBLE", "^(allow|ask|refuse)$", "allow, ask or refuse")
    rule("ON_LOSS", "^(allow|ask|refuse)$", "allow, ask or refuse")
    rule("ON_FILES", "^(allow|ask|refuse)$", "allow, ask or refuse")
    rule("ON_DOWNTIME", "^(allow|ask|refuse)$", "allow, ask or refuse")
    rule("LOCK_TIMEOUT_MS", "^[1-9][0-9]*$", "a number of milliseconds, from 1")
    rule("LOCK_RETRY_SECONDS", "^[0-9]+$", "a number of seconds")
    rule("LOCK_SECONDS", "^[0-9]+$", "a number of seconds")
    rule("PITR", "^(auto|on|off)$", "auto, on or off")
    rule("PITR_SYNC", "^(on|off)$", "on or off")
    rule("PITR_DAYS", "^[1-9][0-9]?[0-9]?$", "a number of days up to 999, from 1")
    rule("BACKUP_KEEP", "^[1-9][0-9]*$", "a number of backups, from 1")
    ports("HTTP_PORT" (ENVIRON["HTTPS_PORT"] == "" ? "" : " HTTPS_PORT") " DEV_PORT LOCAL_PORT PGADMIN_PORT DEV_DB_PORT" (ENVIRON["PROD_DB_PORT"] == "" ? "" : " PROD_DB_PORT") (ENVIRON["DEBUG_PORT"] == "" ? "" : " DEBUG_PORT") " FLOWER_PORT DEV_FLOWER_PORT METRICS_PORT")
}
