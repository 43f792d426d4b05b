"""A value that cannot work stops the start before anything is touched, with name and remedy."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from .fakes import FakeDocker
from .machine import PORT_KEYS, PROJECT, Clone

# key, what it may not be, what the remedy says
RULES = [
    ("PROJECT_NAME", ["", "My Site", "-site", "Site", "a.b"], "lower-case letters"),
    ("POSTGRES_USER", ["", "post-do", "1user", "Postdo", "o'neill"], "lower-case letters"),
    (
        "POSTGRES_USER",
        ["postdo_superuser", "postdo_release", "postdo_archive", "pg_site", "public"],
        "another name",
    ),
    ("POSTGRES_DB", ["", "my-db", "9db"], "lower-case letters"),
    ("DB_EXTENSIONS", ["postgis, vector", "Postgis", "a,,b", "a b", "x;y"], "postgis,vector"),
    ("POSTGRES_PASSWORD", ["", "p@ss", "pass:word", "pa/ss", "pass word"], "letters, digits"),
    ("SECRET_KEY", ["", "short", "x" * 31], "at least 32 characters"),
    ("DOMAIN", ["https://a.com", "a.com:80", "a..com", "-a.com", "a.com/", "*.a.com"], "www"),
    ("DOMAIN", ["a.com, b.com", "a.com,,b.com", "a.com,https://b.com", ",a.com"], "www"),
    (
        "ALLOWED_HOSTS",
        [
            "https://www.example.com",
            "www.example.com/ shop.example.com",
            "localhost,www.example.com/",
            "a.example, b.example",
            "a.example:8000",
            "[::1]:8000",
            "::1",
            "*.example.com",
            "my_site.example.com",
            "www.example.com,my_site",
        ],
        "commas without spaces",
    ),
    (
        "CSRF_TRUSTED_ORIGINS",
        [
            "shop.example.com",
            "https://a.example,b.example",
            "https://a.example https://b.example",
            "https://a.example/",
            "https://*",
            "//a.example",
            "ftp://a.example",
            "https://my_site.example",
        ],
        "http:// or https://",
    ),
    (
        "ALERT_WEBHOOKS",
        ["ntfy.sh/x", "https://a/x, https://b/x", "irc+https://a/x"],
        "https://ntfy",
    ),
    ("ALERT_EMAIL", ["ada", "ada@a.com, bo@b.com", "Ada <ada@a.com>"], "e-mail addresses"),
    (
        "SENTRY_DSN",
        ["sentry.io/1", "https://sentry.io/1", "https://key@sentry.io/"],
        "https://KEY@",
    ),
    ("HEARTBEAT_URL", ["hc-ping.com/x", "https://a/x,https://b/x"], "https://hc-ping.com"),
    ("ALERT_LIMITS", ["disk_mb", "disk_mb=-1", "disk_mb=5,logins=3", "diks_mb=5"], "disk_mb=5000"),
    (
        "EMAIL_URL",
        [
            "smtp.example.com",
            "http://smtp.example.com",
            "smtp://",
            "smtp://user:pass word@smtp.example.com",
            "smtp://user:pa/ss@smtp.example.com",
            "smtp://user:pa[ss@smtp.example.com",
            "smtp+tls://smtp.example.com:587?tls=1",
            "smtp+tls://smtp.example.com:port",
        ],
        "smtp+tls://USER:PASSWORD@HOST:587",
    ),
    (
        "DEFAULT_FROM_EMAIL",
        ["shop", "a@b c@d", "Shop shop@example.com"],
        "such as shop@example.com",
    ),
    ("S3_ENDPOINT", ["s3.example.com", "https://", "https://s3.example.com/b"], "such as https://"),
    ("S3_REGION", ["", "eu central", "EU"], "such as eu-central-1"),
    ("S3_BUCKET", ["My bucket", "a/b", "Shop"], "lower-case letters"),
    ("S3_ACCESS_KEY", ["a b"], "the access key"),
    ("S3_SECRET_KEY", ["a b"], "the secret key"),
    ("DEV_BIND", ["", "localhost", "127.0.0.1:80", "0.0.0.0/0", "::1"], "127.0.0.1 or [::1]"),
    ("MAKEMIGRATIONS", ["yes", "Write", "checkoff"], "write, check or off, or leave it empty"),
    ("DJANGO_SUPERUSER_UPDATE_PASSWORD", ["yes", "ON", "1"], "on or off"),
    ("ACCESS_LOG", ["", "yes", "json"], "on or off"),
    ("LOG_LEVEL", ["", "debug", "VERBOSE"], "DEBUG, INFO"),
    ("PROD_SETTINGS", ["", "config/settings", "1a", "a-b"], "config.settings.prod"),
    ("DEV_SETTINGS", ["", "config settings"], "config.settings.dev"),
    ("PYTHON_IMAGE", ["3.12 slim", "python:", "Python:3.12"], "python:3.13-slim"),
    (
        "POSTGRES_IMAGE",
        ["", "17", "postgres", "postgres 17", "postgres:", "Postgres:17"],
        "postgres:18",
    ),
    ("CADDY_IMAGE", ["", "caddy", "caddy 2", "Caddy:2"], "caddy:2"),
    ("WSGI_APPLICATION", ["", "config.wsgi", "config.wsgi:", "a:b:c"], "config.wsgi:application"),
    ("COMPOSE_PROFILES", ["tasks,", "tasks, live", "tasks live", "*"], "separated by commas"),
    ("CELERY_APP", ["", "config/celery", "1a"], "such as config"),
    ("TASKS_POOL", ["", "eventlet", "Prefork"], "prefork, threads or gevent"),
    ("TASKS_CONCURRENCY", ["0", "auto"], "a number of tasks"),
    ("TASKS_QUEUES", ["a, b", "a,,b", "a b"], "separated by commas"),
    ("TASK_SECONDS", ["", "0", "1h"], "a number of seconds"),
    ("WORKER_MEMORY", ["", "1gb", "255m"], "from 256m, such as 512m"),
    ("REDIS_MEMORY", ["", "half", "63m"], "from 64m, such as 256m"),
    ("DB_WAIT_SECONDS", ["", "0", "-1", "1m", "1.5"], "a number of seconds"),
    ("START_TIMEOUT", ["", "0", "ten"], "a number of seconds"),
    ("WEB_TIMEOUT", ["", "0", "30s"], "a number of seconds"),
    ("WEB_CONCURRENCY", ["0", "auto", "-2"], "a number of processes"),
    ("WEB_THREADS", ["0", "two"], "a number of threads"),
    ("POSTGRES_MAX_CONNECTIONS", ["", "5", "many"], "a number from 10"),
    ("MAX_REQUEST_BODY", ["", "100", "1mb", "0MB"], "100MB"),
    ("HEALTH_PATH", ["", "readyz", "/a b", "/?a=1"], "/readyz"),
    ("SMOKE_PATHS", ["shop", "/ shop", "/=99", "/=200:", "/=2000"], "paths with spaces"),
    ("WATCH_SECONDS", ["", "1m", "-1", "08", "00", "100000"], "seconds up to 99999"),
    ("DRAIN_SECONDS", ["", "1m", "-1", "08", "100000"], "seconds up to 99999"),
    ("KEEP_RELEASES", ["", "0", "few"], "a number of releases"),
    ("HSTS_SECONDS", ["", "1y", "-1"], "seconds"),
    ("DOMAIN_CHECK", ["", "yes", "OFF"], "on or off"),
    (
        "TRUSTED_PROXIES",
        [
            "*",
            "any",
            "10.0.0.256",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1, 10.0.0.2",
            "lb.example",
            "a/8",
            "1.2.3.4/33",
        ],
        "private or cloudflare",
    ),
    (
        "PGADMIN_DEFAULT_EMAIL",
        ["", "admin", "admin@localhost", "admin@site.local", "a@b.test", "a b@c.de", "a@.de"],
        "such as admin@example.com",
    ),
    ("PGADMIN_DEFAULT_PASSWORD", ["", "short"], "at least 6 characters"),
    ("ACME_EMAIL", ["me", "a@b c", "@"], "an e-mail address, or leave it empty"),
    ("WEB_MEMORY", ["", "1", "1gb", "1.5g", "1G", "127m", "131071k"], "from 128m, such as 512m"),
    ("DB_MEMORY", ["", "half", "512", "8m", "255m"], "from 256m, such as 512m"),
    ("PROXY_MEMORY", ["", "256 m", "6m", "512k", "63m"], "from 64m, such as 128m"),
    ("REHEARSE", ["", "on", "Full"], "full, schema or off"),
    ("REHEARSE_NETWORK", ["", "yes", "redis:6379,yes"], "block, allow, or hosts"),
    ("REHEARSE_SECONDS", ["", "0", "30m"], "a number of seconds"),
    ("REHEARSE_DUMP_MB", ["", "4GB"], "a number of megabytes"),
    ("REHEARSE_MAX_MB", ["", "20GB", "-1"], "a number of megabytes"),
    ("REHEARSE_MEMORY_MB", ["", "1g"], "a number of megabytes"),
    ("ON_DRIFT", ["", "no"], "allow, ask or refuse"),
    ("ON_INCOMPATIBLE", ["", "yes"], "allow, ask or refuse"),
    ("ON_LOSS", ["", "ASK"], "allow, ask or refuse"),
    ("ON_FILES", ["", "yes"], "allow, ask or refuse"),
    ("ON_DOWNTIME", ["", "1"], "allow, ask or refuse"),
    ("LOCK_TIMEOUT_MS", ["", "0", "0.3"], "a number of milliseconds"),
    ("LOCK_RETRY_SECONDS", ["", "-1", "1m"], "a number of seconds"),
    ("LOCK_SECONDS", ["", "five"], "a number of seconds"),
    (
        "SCHEDULE_REPORT",
        [
            "*/15 * * * * report",
            "report",
            "daily",
            "daily 3:30 report",
            "daily 24:00 report",
            "monthly report",
            "hourly 5 report",
            "every 0m report",
            "every 15 report",
            "every 1000m report",
            'daily report "two words"',
            "daily report; reboot",
        ],
        "such as every 15m report, daily 03:30 report",
    ),
    ("BACKUP_AT", ["3:30", "24:00", "03:60", "daily", "03:30 backup"], "such as 03:30"),
    (
        "OFFSITE",
        ["backup", "ftp://a/b", "s3:bucket", "rest:https://me:pw@a/", "sftp:a", "/a b", "../x"],
        "sftp:USER@HOST:/FOLDER",
    ),
    ("OFFSITE_USER", ["a b"], "the access key of S3"),
    ("OFFSITE_SECRET", ["a b"], "the secret key of S3"),
    ("OFFSITE_PASSPHRASE", ["short", "twelve letters and spaces"], "at least 12 characters"),
    ("JOB_TIMEOUT", ["", "0", "1h"], "a number of seconds"),
    ("BACKUP_RECIPIENT", ["AGE-SECRET-KEY-1ABC", "age", "ssh-ed25519 A"], "a public key of age"),
    ("BACKUP_DAILY", ["", "0", "all"], "a number of days"),
    ("BACKUP_WEEKLY", ["", "-1", "all"], "a number of weeks"),
    ("BACKUP_MONTHLY", ["", "01", "all"], "a number of months"),
    ("BACKUP_KEEP", ["", "0", "all"], "a number of backups"),
    ("PITR", ["", "yes", "Auto"], "auto, on or off"),
    ("PITR_SYNC", ["", "yes", "auto"], "on or off"),
    ("PITR_DAYS", ["", "0", "7d", "1000"], "a number of days"),
    *[(key, ["0", "65536", "http", "80 80", "080", "-1", "1e3"], "1 to") for key in PORT_KEYS],
    *[(key, [""], "1 to") for key in PORT_KEYS if key != "HTTPS_PORT"],
]
IS_SECRET = re.compile("PASSWORD$|SECRET")
KEY_LINE = re.compile(r"^(?:# )?([A-Z][A-Z0-9_]*)=(\S*)$", re.MULTILINE)


@pytest.fixture
def ready(dash_clone: Clone) -> Clone:
    """A clone after its first start, whose ports stand in .env and not in the environment."""
    dash_clone.first_start()
    dash_clone.set_in_env(**dash_clone.environment)
    dash_clone.environment = {}
    dash_clone.has_python = False  # a start that is not refused ends for want of it
    return dash_clone


def check(mode: str = "local", **changed: str) -> list[str]:
    """What lib/check.awk finds in the values of .env.example with these changes; empty: nothing."""
    values = dict(KEY_LINE.findall((PROJECT / ".env.example").read_text()))
    empty = [key for key, value in values.items() if not value and IS_SECRET.search(key)]
    secrets = dict.fromkeys(empty, "a-secret-of-enough-characters-for-all")
    done = subprocess.run(
        [
            "awk",
            "-v",
            "given= ",
            "-v",
            f"mode={mode}",
            "-v",
            f"jobs={' '.join(changed)}",
            "-f",
            PROJECT / "lib" / "check.awk",
        ],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **values, **secrets, **changed},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(("key", "values", "remedy"), RULES, ids=[rule[0] for rule in RULES])
def test_a_value_that_cannot_work_is_refused_by_name(
    key: str, values: list[str], remedy: str
) -> None:
    assert check() == []
    for value in values:
        cannot_be_shown = value and key in (
            "POSTGRES_PASSWORD",
            "SECRET_KEY",
            "PGADMIN_DEFAULT_PASSWORD",
            "EMAIL_URL",
            "ALERT_WEBHOOKS",
            "HEARTBEAT_URL",
            "SENTRY_DSN",
            "S3_SECRET_KEY",
            "OFFSITE_SECRET",
            "OFFSITE_PASSPHRASE",
        )
        found = "is not valid" if cannot_be_shown else f"is '{value}'" if value else "is "
        what, to_do = check(**{key: value})
        assert what.startswith(f"{key} in .env {found}")
        assert remedy in to_do


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("DOMAIN", "https://a.com", "www"),
        ("WEB_MEMORY", "1gb", "from 128m"),
        ("LOCAL_PORT", "0", "1 to"),
        ("LOG_LEVEL", "", "DEBUG"),
    ],
)
def test_run_sh_refuses_it_before_anything_is_touched(
    ready: Clone, key: str, value: str, remedy: str
) -> None:
    ready.set_in_env(**{key: value})
    before = ready.files()
    result = ready.run("-2").assert_refused(f"{key} in .env is ", remedy)
    assert "then start again" in result.err
    assert ready.files() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PROJECT_NAME", "2-sites_a"),
        ("DOMAIN", "www.example.com"),
        ("DOMAIN", "xn--bcher-kva.example"),
        ("DOMAIN", "intranet"),
        ("DOMAIN", "www.example.com,example.com,example.org"),
        ("HTTPS_PORT", ""),
        ("TRUSTED_PROXIES", "cloudflare,10.0.0.7,192.168.0.0/16,2001:db8::/48,::1"),
        ("TRUSTED_PROXIES", "private"),
        ("ALLOWED_HOSTS", ""),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", ".example.com,www.example.org,xn--bcher-kva.example,[::1],10.0.0.7,"),
        ("CSRF_TRUSTED_ORIGINS", "https://shop.example.com"),
        ("CSRF_TRUSTED_ORIGINS", "https://*.example.com,http://10.0.0.7:8080,https://[::1]:8443"),
        ("EMAIL_URL", "smtp://localhost"),
        ("EMAIL_URL", "smtp+tls://shop@example.com:p@ss%2Fword@smtp.example.com:587"),
        ("EMAIL_URL", "smtps://[::1]:465/"),
        ("DEFAULT_FROM_EMAIL", "The shop <shop@example.com>"),
        ("DEV_BIND", "192.168.1.7"),
        ("DEV_BIND", "[::1]"),
        ("MAKEMIGRATIONS", "check"),
        ("DJANGO_SUPERUSER_UPDATE_PASSWORD", "on"),
        ("POSTGRES_USER", "_shop2"),
        ("WSGI_APPLICATION", "shop.web.wsgi:app"),
        ("WEB_CONCURRENCY", "3"),
        ("WEB_MEMORY", "0"),
        ("WEB_MEMORY", "131072k"),
        ("DB_MEMORY", "256m"),
        ("DB_MEMORY", "1g"),
        ("PROXY_MEMORY", "0"),
        ("PROXY_MEMORY", "64m"),
        ("HTTP_PORT", "65535"),
        ("SMOKE_PATHS", "/ /shop/=200 /cart/=200:What%20is%20a=b? /search/?q=a=200 /search/?q=a"),
        ("SCHEDULE_REPORT", ""),
        ("SCHEDULE_REPORT", "hourly report"),
        ("SCHEDULE_REPORT", "every 15m report --mail a.b@example.com --since=2026-01-01T00:00 x,y"),
        ("SCHEDULE_REPORT", "daily 23:59  send_report"),
        ("SCHEDULE_REPORT", "weekly report"),
        ("SCHEDULE_REPORT", "weekly mon report"),
        ("SCHEDULE_REPORT", "weekly sun 03:30 report"),
        ("SCHEDULE_enabled", "the project's own"),
        ("WATCH_SECONDS", "0"),
        ("WATCH_SECONDS", "99999"),
        ("SECRET_KEY", '$ecret"with#all sorts of things in it'),
        ("DJANGO_SUPERUSER_PASSWORD", "a b$c"),
    ],
)
def test_a_value_that_can_work_is_let_through(key: str, value: str) -> None:
    assert check(**{key: value}) == []


def test_without_a_port_for_https_a_proxy_in_front_must_have_it() -> None:
    what, to_do = check(DOMAIN="www.example.com", HTTPS_PORT="")

    assert what.startswith("HTTPS_PORT in .env is empty")
    assert "TRUSTED_PROXIES" in to_do
    assert check(DOMAIN="www.example.com", HTTPS_PORT="", TRUSTED_PROXIES="10.0.0.7") == []


@pytest.mark.parametrize(
    ("value", "word", "nearest"),
    [("taks", "taks", "tasks"), ("api,liev", "liev", "live"), ("tool", "tool", "api")],
)
def test_a_part_that_does_not_exist_is_refused_with_the_nearest_name(
    ready: Clone, value: str, word: str, nearest: str
) -> None:
    ready.set_in_env(COMPOSE_PROFILES=value)
    ready.run("init").assert_refused(
        f"COMPOSE_PROFILES in .env has '{word}'", f"write {nearest} if you meant that"
    )


def test_tasks_are_kept_by_one_part_alone() -> None:
    what, remedy = check(COMPOSE_PROFILES="tasks-db,api,tasks")
    assert what == "COMPOSE_PROFILES in .env has both tasks and tasks-db"
    assert remedy.startswith("keep one of them")
    assert check(COMPOSE_PROFILES="api,tasks-db") == []


def test_a_profile_of_the_override_file_is_as_good_as_a_part(ready: Clone) -> None:
    ready.set_in_env(COMPOSE_PROFILES="search")
    override = ready.root / "docker-compose.override.yml"
    override.write_text("services:\n  find:\n    image: sonic:1\n    # profiles: [search]\n")
    ready.run("init").assert_refused("has 'search'", "one of api, live")
    override.write_text("services:\n  search:\n    image: my-search:1\n    profiles: [search-x]\n")
    ready.run("init").assert_refused("has 'search'", "one of api, live")
    override.write_text("services:\n  find:\n    image: sonic:1\n    profiles:\n      - 'search'\n")
    ready.run("init").assert_ok()
    override.write_text("services:\n  find:\n    image: sonic:1\n    profiles: [search]\n")
    ready.run("init").assert_ok()


def test_run_sh_lets_through_a_secret_of_any_characters(ready: Clone) -> None:
    ready.set_in_env(
        SECRET_KEY="'$ecret\"with#all sorts of things in it'", DJANGO_SUPERUSER_PASSWORD="'a b$c'"
    )
    ready.run("init").assert_ok()


def test_two_services_on_one_port_are_refused_with_both_names(ready: Clone) -> None:
    ready.set_in_env(COMPOSE_PROFILES="tasks,metrics")
    for key, other in zip(PORT_KEYS[1:], PORT_KEYS, strict=False):
        ready.environment = {key: "4711", other: "4711"}
        ready.run("init").assert_refused(
            f"{key} and {other} in the environment are both 4711", "give each its own port"
        )
    ready.environment = {"PROD_DB_PORT": ready.env()["HTTP_PORT"]}
    ready.run("init").assert_refused(
        "PROD_DB_PORT in the environment and HTTP_PORT in .env are both", "give each its own port"
    )
    ready.environment = {}
    ready.set_in_env(PROD_DB_PORT="5432 ")
    ready.run("init").assert_ok()
    ready.set_in_env(PROD_DB_PORT="127.0.0.1:5432")
    ready.run("init").assert_refused("PROD_DB_PORT in .env is '127.0.0.1:5432'", "1 to 65535")


def test_the_port_of_a_part_that_is_off_is_in_nobodys_way(ready: Clone) -> None:
    ready.set_in_env(FLOWER_PORT=ready.env()["DEV_PORT"])
    ready.run("init").assert_ok()
    ready.set_in_env(COMPOSE_PROFILES="tasks")
    ready.run("init").assert_refused("FLOWER_PORT and DEV_PORT", "give each its own port")


def test_a_value_of_the_shell_is_not_blamed_on_the_file(clone: Clone) -> None:
    clone.first_start()
    for key, value in (("LOG_LEVEL", "debug"), ("WEB_MEMORY", "1"), ("DEV_PORT", "http")):
        clone.environment[key] = value
        result = clone.run("init")
        result.assert_refused(f"{key} in the environment is '{value}'", f"or unset {key} to use")
        assert ".env is" not in result.err
        del clone.environment[key]
    # The kit's own reading of the file is no environment, also at a second look.
    clone.set_in_env(LOG_LEVEL="debug")
    clone.run("doctor", LOG_LEVEL="INFO").assert_ok()
    assert "LOG_LEVEL in .env is 'debug'" in clone.run("doctor").out


def test_what_only_development_needs_does_not_stop_production(
    dash_clone: Clone, docker: FakeDocker
) -> None:
    dash_clone.first_start()
    dash_clone.set_in_env(PGADMIN_DEFAULT_EMAIL="admin@localhost")
    dash_clone.run("-1").assert_refused("PGADMIN_DEFAULT_EMAIL in .env is 'admin@localhost'", "set")
    assert not docker.compose_calls()
    dash_clone.run("-0").assert_ok()


def test_a_secret_is_never_shown(clone: Clone) -> None:
    clone.first_start()
    keys = [key for key in clone.env() if IS_SECRET.search(key)]
    for key in ("SECRET_KEY", "POSTGRES_PASSWORD"):
        clone.environment[key] = "hush: §$"
        text = clone.run("init").text
        del clone.environment[key]
        assert f"{key} in the environment is not valid (it is not shown here)" in text
        assert "hush" not in text
    secrets = [secret for key in keys if len(secret := clone.env()[key]) > 10]
    assert len(secrets) == 4
    for arguments in (("status",), ("doctor",), ("stop",), ("-2", "logs"), ("help",)):
        text = clone.run(*arguments).text
        assert not [secret for secret in secrets if secret in text], arguments


@pytest.mark.every_shell
def test_the_refusal_is_the_same_in_every_shell_and_for_every_command(clone: Clone) -> None:
    clone.first_start()
    clone.set_in_env(DOMAIN="https://example.com")
    before = clone.files()
    for arguments in (("-2",), ("stop",), ("status",), ("-2", "manage", "check"), ("logs",)):
        clone.run(*arguments).assert_refused("DOMAIN in .env is 'https://example.com'", "www")
    assert clone.files() == before


@pytest.mark.every_shell
def test_what_the_patterns_need_of_awk_each_awk_can_do(clone: Clone) -> None:
    """The tools of each shell: mawk and BusyBox's among them."""
    clone.first_start()
    clone.set_in_env(
        ALLOWED_HOSTS="*,.a.example,[::1],10.0.0.7",
        CSRF_TRUSTED_ORIGINS="https://*.a.example,http://[::1]:80",
        WEB_MEMORY="131072k",
    )
    clone.run("init").assert_ok()
    for key, value in (
        ("ALLOWED_HOSTS", "a.example:80"),
        ("CSRF_TRUSTED_ORIGINS", "a.example"),
        ("WEB_MEMORY", "512k"),
    ):
        clone.environment[key] = value
        clone.run("init").assert_refused(f"{key} in the environment is '{value}'", "set it to ")
        del clone.environment[key]


def test_every_known_key_that_has_rules_is_tried_here() -> None:
    checked = set(
        re.findall(r'(?:rule|memory)\("([A-Z0-9_]+)"', (PROJECT / "lib" / "check.awk").read_text())
    )
    assert checked | set(PORT_KEYS) | {"SCHEDULE_REPORT"} == {rule[0] for rule in RULES}


def test_production_with_the_part_s3_needs_all_that_reaches_the_store() -> None:
    store = {
        "S3_ENDPOINT": "https://s3.example.com",
        "S3_BUCKET": "uploads.shop",
        "S3_ACCESS_KEY": "AKIA+/=",
        "S3_SECRET_KEY": "a/b+c=",
    }
    assert check("prod", COMPOSE_PROFILES="s3", **store) == []
    for key in store:
        what, remedy = check("prod", COMPOSE_PROFILES="api,s3", **(store | {key: ""}))
        assert what.startswith(f"{key} in .env is empty")
        assert remedy
        assert check("prod", COMPOSE_PROFILES="api", **(store | {key: ""})) == []
        assert check("local", COMPOSE_PROFILES="s3", **(store | {key: ""})) == []


def test_every_key_of_the_example_is_read_by_something() -> None:
    example = (PROJECT / ".env.example").read_text()
    keys = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=\S*$", example, re.MULTILINE)
    assert len(keys) > 25
    # The superuser's keys are found by their beginning: postdo/base/config.py has the rest.
    parts = {key: key.removeprefix("DJANGO_SUPERUSER_") for key in keys}
    readers = [
        path.read_text(errors="ignore")
        for pattern in ("lib/*", "commands/*", "docker-compose*.yml", "*.py", "postdo/*.py")
        for path in [*PROJECT.glob(pattern), *PROJECT.glob(f"web/**/{pattern}")]
        if path.is_file()
    ]
    unread = [
        key
        for key, part in parts.items()
        if not any(re.search(rf'\b{key}\b|"{part}"', text) for text in readers)
    ]
    assert unread == []
