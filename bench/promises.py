"""What docs/security.md promises, the test that shows it, and a fault that it has to notice.

`python3 -m bench security` puts each fault in, and makes the tables of the page of this file.
"""

from __future__ import annotations

from dataclasses import dataclass

CIS = "tests/shell/test_cis.py"
KEEPS = f"{CIS}::test_production_keeps_a_rule_but_where_the_page_says_why_not"
ISOLATION = "tests/stack/test_isolation.py"
REQUESTS = "tests/stack/test_requests.py"
SETS = "tests/unit/test_backup_sets.py"
ENV_FILE = "tests/shell/test_env_file.py"
LIMITS = "web/accounts/tests/test_limits.py::LoginLimitTests"
PRODUCTION = "docker-compose.prod.yml"
CADDYFILE = "proxy/Caddyfile"


@dataclass(frozen=True)
class Fault:
    """``old`` is in the file once; ``new`` takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Promise:
    """What is promised, and the test that shows it.

    ``fault``: None where what keeps the promise is not ours. ``engine``: the test needs Docker.
    """

    text: str
    test: str
    fault: Fault | None
    engine: bool = False


@dataclass(frozen=True)
class Rule:
    """A rule of the CIS Docker Benchmark 1.6.0 that these services do not keep, and the reason.

    ``unmet``: names of services, or "images".
    """

    number: str
    title: str
    unmet: tuple[str, ...]
    why: str


PROMISES = (
    # Who reaches what.
    Promise(
        "Other machines reach the proxy alone; every other port is one of 127.0.0.1.",
        f"{CIS}::test_other_machines_reach_the_proxy_alone",
        Fault(
            "docker-compose.db-port.yml",
            '"127.0.0.1:${PROD_DB_PORT}:5432"',
            '"${PROD_DB_PORT}:5432"',
        ),
    ),
    Promise(
        "The proxy shares no network with the database or Redis.",
        f"{CIS}::test_the_proxy_shares_no_network_with_the_database_or_redis",
        Fault(PRODUCTION, "    networks: [frontend]\n", "    networks: [frontend, backend]\n"),
    ),
    Promise(
        "From another network namespace nothing answers but the proxy, by IPv4 or IPv6, and the "
        "database has no way out.",
        f"{ISOLATION}::test_from_other_networks_the_proxy_alone_is_reached_"
        "and_the_database_has_no_way_out",
        Fault(PRODUCTION, "    internal: true\n", "    internal: false\n"),
        engine=True,
    ),
    Promise(
        "What serves visitors reaches no backup, and nothing of the clone that it could change.",
        f"{CIS}::test_what_serves_reaches_no_backup_and_nothing_of_the_clone_that_it_could_change",
        Fault(PRODUCTION, "./proxy:/etc/caddy/site:ro", "./proxy:/etc/caddy/site"),
    ),
    # What a container may do.
    Promise(
        "A container has no capability but those that are listed.",
        f"{KEEPS}[5.3]",
        Fault(PRODUCTION, "cap_drop: [ALL]", "cap_drop: [NET_RAW]"),
    ),
    Promise(
        "A container cannot write to its image.",
        f"{KEEPS}[5.12]",
        Fault(PRODUCTION, "unless-stopped\n  read_only: true\n", "unless-stopped\n"),
    ),
    Promise(
        "The same in a running container: it writes nothing, and can do no more than is listed.",
        f"{ISOLATION}::test_a_container_cannot_write_to_its_image_nor_become_more",
        Fault(PRODUCTION, '  security_opt: ["no-new-privileges:true"]\n', ""),
        engine=True,
    ),
    Promise(
        "No process can gain privileges, by setuid for example.",
        f"{KEEPS}[5.25]",
        Fault(PRODUCTION, '  security_opt: ["no-new-privileges:true"]\n', ""),
    ),
    Promise(
        "A process that crashes writes its memory to no file.",
        f"{KEEPS}[5.18]",
        Fault(PRODUCTION, "  ulimits: {core: 0}\n", ""),
    ),
    Promise(
        "No container has Docker's socket.",
        f"{KEEPS}[5.31]",
        Fault(PRODUCTION, "./proxy:/etc/caddy/site:ro", "/var/run/docker.sock:/etc/caddy/site:ro"),
    ),
    Promise(
        "The site runs as a user without rights.",
        f"{KEEPS}[4.1]",
        Fault(
            "Dockerfile",
            'USER 10001:10001\nEXPOSE 8000\nENTRYPOINT ["/opt/kit/entrypoint.sh"]\nCMD ["gunicorn"',
            'USER 0:0\nEXPOSE 8000\nENTRYPOINT ["/opt/kit/entrypoint.sh"]\nCMD ["gunicorn"',
        ),
    ),
    # The database.
    Promise(
        "The site's role is no superuser: SQL injection starts no program.",
        "tests/unit/test_db_roles.py::test_the_sites_role_loses_what_an_injection_would_use",
        Fault("db/roles/settle.sql", "NOSUPERUSER NOCREATEROLE", "NOCREATEROLE"),
    ),
    Promise(
        "The same for a new volume, by what an injection would try.",
        "tests/stack/test_roles.py::test_in_a_new_volume_the_role_owns_its_database_and_no_more",
        Fault("db/roles/first-start.sql", "ALTER ROLE CURRENT_USER PASSWORD NULL;\n", ""),
        engine=True,
    ),
    Promise(
        "The role that a release uses cannot log in after it, even if the release was killed.",
        "tests/unit/test_db_roles.py"
        "::test_the_role_of_a_release_that_was_killed_cannot_log_in_after_the_next_start",
        Fault("db/roles/settle.sql", "NOLOGIN PASSWORD NULL", "PASSWORD NULL"),
    ),
    # Secrets.
    Promise(
        "`.env` is readable for its owner alone.",
        f"{ENV_FILE}::test_the_first_start_writes_env_for_its_owner_alone",
        Fault("lib/env.sh", "umask 077 && fill_in_secrets", "umask 022 && fill_in_secrets"),
    ),
    Promise(
        "Its secrets are random.",
        f"{ENV_FILE}::test_the_secrets_are_random_and_of_harmless_characters",
        Fault("lib/env.sh", '"$(random_word 64)"', '"$(printf %064d 0)"'),
    ),
    Promise(
        "A message about a secret in `.env` does not show it.",
        "tests/shell/test_env_checks.py::test_a_secret_is_never_shown",
        Fault("lib/check.awk", "PASSWORD$|SECRET|", "NONE|"),
    ),
    Promise(
        "A serving process has no password but the site's own.",
        "tests/unit/test_postdo_prepare.py"
        "::test_the_server_has_no_password_that_only_the_preparing_needs",
        Fault("postdo/base/config.py", '    "DJANGO_SUPERUSER_PASSWORD",\n', ""),
    ),
    Promise(
        "The site has no secret that only the kit needs: of alerts, of the copies of backups.",
        f"{CIS}::test_no_container_of_the_site_has_a_secret_that_run_sh_alone_needs",
        Fault("docker-compose.yml", '      OFFSITE_PASSPHRASE: ""\n', ""),
    ),
    Promise(
        "No secret is an argument of a build, which would stay in the image.",
        f"{CIS}::test_no_secret_is_given_to_a_build",
        Fault("Dockerfile", "ARG PROD_SETTINGS=config", "ARG SECRET_KEY=config"),
    ),
    Promise(
        "A build sees no `.env`, no backup and no repository.",
        f"{CIS}::test_the_build_sees_nothing_but_what_is_listed",
        Fault(".dockerignore", "*\n!web/\n", "!web/\n"),
    ),
    Promise(
        "The image has no secret in a file, in its history or in its settings.",
        f"{ISOLATION}::test_the_image_holds_no_secret",
        Fault(
            PRODUCTION,
            "        APP_REVISION: ${APP_REVISION:-unversioned}\n",
            "        APP_REVISION: ${SECRET_KEY}\n",
        ),
        engine=True,
    ),
    Promise(
        "No log of a container or of `run.sh` has a secret, and no list of processes.",
        f"{ISOLATION}::test_no_secret_is_in_a_log_or_in_a_list_of_processes",
        Fault(
            PRODUCTION,
            "command: [sh, /etc/caddy/site/start.sh, run]",
            'command: [sh, /etc/caddy/site/start.sh, run, "${SECRET_KEY}"]',
        ),
        engine=True,
    ),
    Promise(
        "A page for an error shows no secret, and neither does the error's line in the log.",
        "web/core/tests/test_production.py::DatabaseDownTests"
        "::test_every_line_of_the_log_is_json_whatever_a_client_sends",
        Fault("web/config/settings/prod.py", '"DEBUG", default=False', '"DEBUG", default=True'),
    ),
    Promise(
        "The logs and the state in `.postdo/` are their owner's alone.",
        "tests/shell/test_failures.py::test_the_log_is_the_owners_alone",
        Fault("lib/log.sh", "umask 077 && mkdir -p", "umask 022 && mkdir -p"),
    ),
    Promise(
        "A backup is its owner's alone, as a folder",
        f"{SETS}::test_a_set_has_everything_and_its_checksums_are_right_by_hand",
        Fault("postdo_backup/folder.py", "OWNER_ONLY = 0o700", "OWNER_ONLY = 0o755"),
    ),
    Promise(
        "and each file of it by itself.",
        f"{SETS}::test_a_set_has_everything_and_its_checksums_are_right_by_hand",
        Fault("postdo_backup/output.py", "OWNER_ONLY = 0o600", "OWNER_ONLY = 0o644"),
    ),
    Promise(
        "No password is among the arguments of a program, which every user of a machine can read.",
        f"{SETS}::test_no_program_has_the_password_among_its_arguments",
        Fault("postdo_backup/database.py", 'parts.pop("password", None)', 'parts.get("password")'),
    ),
    Promise(
        "No link that sets a password is in the site's log",
        "tests/unit/test_gunicorn_conf.py::test_no_link_that_sets_a_password_is_in_the_log",
        Fault("gunicorn.conf.py", 'return TOKEN.sub("REDACTED", target)', "return target"),
    ),
    Promise(
        "or in the proxy's.",
        f"{REQUESTS}::test_no_link_that_sets_a_password_is_in_the_logs",
        Fault(
            CADDYFILE,
            "request>uri regexp",
            "request>host regexp",
        ),
        engine=True,
    ),
    # Requests.
    Promise(
        "Nobody but the proxy is believed about who asks and how.",
        "tests/unit/test_serving_clients.py::test_nobody_else_is_believed",
        Fault(
            "postdo_serving/clients.py",
            "if not field[0].startswith(SPOKEN_FOR)]",
            'if field[0] != "FORWARDED"]',
        ),
    ),
    Promise(
        "A visitor cannot choose an address by X-Forwarded-For.",
        f"{REQUESTS}::test_a_visitor_cannot_choose_an_address",
        Fault(
            CADDYFILE,
            "header_up X-Forwarded-For {client_ip}",
            "header_up X-Forwarded-For {header.X-Forwarded-For}",
        ),
        engine=True,
    ),
    Promise(
        "A host name that nobody allowed is refused.",
        "web/core/tests/test_production.py::ProductionTests"
        "::test_with_no_name_set_only_the_machine_itself_is_answered",
        Fault(
            "web/config/settings/prod.py",
            'ALLOWED_HOSTS += ["localhost", "127.0.0.1", "[::1]"]',
            'ALLOWED_HOSTS += ["*"]',
        ),
    ),
    Promise(
        "A request that two servers could read differently ends at the proxy: no smuggling.",
        f"{REQUESTS}::test_a_request_that_two_servers_could_read_differently_ends_at_the_proxy",
        None,
        engine=True,
    ),
    Promise(
        "Headers that are too large, or that never end, end at the proxy.",
        f"{REQUESTS}::test_headers_that_are_too_large_or_never_end_end_at_the_proxy",
        Fault(CADDYFILE, "max_header_size 32KB", "max_header_size 1MB"),
        engine=True,
    ),
    Promise(
        "A body that is too large is refused, in chunks too.",
        "tests/unit/test_serving.py::test_a_body_over_the_limit_is_413",
        Fault(
            "postdo_serving/bodies.py",
            "if size > limits.largest:",
            "if size < 0:",
        ),
    ),
    Promise(
        "No request can forge a line of the log.",
        "tests/unit/test_gunicorn_conf.py::test_no_request_can_break_or_forge_a_line_of_the_log",
        Fault(
            "gunicorn.conf.py",
            "return json.dumps(line, default=str)",
            'return str({**line, "message": line["message"]})',
        ),
    ),
    Promise(
        "Nothing that was uploaded can run in a page of the site.",
        f"{REQUESTS}"
        "::test_nothing_that_was_uploaded_can_run_and_private_files_are_for_who_may_have_them",
        Fault(CADDYFILE, "default application/octet-stream attachment", "default text/html inline"),
        engine=True,
    ),
    Promise(
        "A link among the uploads does not lead to the keys of the proxy.",
        f"{REQUESTS}::test_a_link_among_the_uploads_leads_to_nothing_that_is_not_for_everybody",
        Fault("proxy/start.sh", "|| FILES=apart", "|| FILES=direct"),
        engine=True,
    ),
    Promise(
        "Pages run no scripts but the site's own.",
        "web/core/tests/test_home.py::ContentSecurityPolicyTests"
        "::test_pages_and_admin_have_the_policy",
        Fault(
            "web/config/settings/base.py", "\"default-src 'self';", "\"default-src 'unsafe-inline';"
        ),
    ),
    Promise(
        "A restored archive puts nothing outside of the uploads, and no link that leads out.",
        "tests/unit/test_backup_restore.py::test_a_link_that_leads_out_is_refused",
        Fault(
            "postdo_backup/uploads.py",
            "tarfile.data_filter(member, folder)",
            "pass",
        ),
    ),
    Promise(
        "`check --deploy` has no warning in production.",
        "web/config/tests/test_settings.py::ProductionSettingsTests"
        "::test_the_deployment_check_is_clean_with_a_domain",
        Fault(
            "web/config/settings/prod.py",
            "SESSION_COOKIE_SECURE = HTTPS",
            "SESSION_COOKIE_SECURE = False",
        ),
    ),
    Promise(
        "Production shows no debug pages.",
        "web/config/tests/test_settings.py::ProductionSettingsTests"
        "::test_debug_is_off_unless_asked_for",
        Fault("web/config/settings/prod.py", '"DEBUG", default=False', '"DEBUG", default=True'),
    ),
    # Logins.
    Promise(
        "After ten wrong passwords for a name from an address no other is looked at.",
        f"{LIMITS}::test_thirty_wrong_passwords_are_ten_and_a_line_for_each",
        Fault("web/accounts/limits.py", "TRIES_FOR_A_NAME = 10", "TRIES_FOR_A_NAME = 25"),
    ),
    Promise(
        "This holds for the site's login, the admin's and the API's together.",
        "web/api/tests/test_login.py::LoginTests"
        "::test_wrong_passwords_here_and_in_the_admin_count_together",
        Fault(
            "web/config/settings/base.py",
            '["accounts.limits.LimitedBackend"]',
            '["django.contrib.auth.backends.ModelBackend"]',
        ),
    ),
    Promise(
        "It locks out nobody at another address.",
        f"{LIMITS}::test_others_are_not_locked_out",
        Fault(
            "web/accounts/limits.py",
            'return f"{address}|{person}", address',
            "return person, address",
        ),
    ),
    Promise(
        "More addresses of one IPv6 network allow no more tries.",
        f"{LIMITS}::test_one_network_of_ipv6_is_one_address",
        Fault("web/accounts/limits.py", "IPV6_NETWORK = 64", "IPV6_NETWORK = 128"),
    ),
    Promise(
        "A flood of tries does not make the site forget earlier ones.",
        f"{LIMITS}::test_whoever_is_refused_cannot_make_the_cache_forget_the_counts_of_others",
        Fault(
            "web/accounts/limits.py",
            'caches["logins"].get(of_address, 0) >= for_an_address\n',
            "False\n",
        ),
    ),
)

RULES = (
    Rule(
        "4.1",
        "A user for the container",
        ("db", "proxy", "recovery"),
        "PostgreSQL's image starts as root to make the volume its own, and then becomes postgres. "
        "Caddy is root without any right of root but to open ports below 1024.",
    ),
    Rule(
        "4.5",
        "Content trust for Docker",
        ("images",),
        "Docker has ended that service for its official images. To pin an image, name it by its "
        "digest in `.env`.",
    ),
    Rule(
        "4.8",
        "No setuid and setgid permissions in the images",
        ("images",),
        "Debian's own (su, passwd) stay. They have no effect: no process gains privileges (5.25).",
    ),
    Rule("5.7", "No privileged ports", ("proxy",), "80 and 443 are where visitors come."),
    Rule(
        "5.10",
        "A limit of memory",
        ("db", "db-other", "proxy"),
        "The database has none unless you set `DB_MEMORY`: PostgreSQL sizes itself by the machine. "
        "The proxy has `PROXY_MEMORY`, which `run.sh` sets while it runs.",
    ),
    Rule(
        "5.11",
        "A share of the CPU",
        ("archive", "copy", "db-other", "recovery", "redis", "web", "web-job"),
        "They have Docker's default share, which is below that of what visitors wait for.",
    ),
    Rule(
        "5.13",
        "Ports of one interface only",
        ("proxy",),
        "The site is for everyone. Every other port is one of 127.0.0.1.",
    ),
    Rule(
        "5.14",
        "At most five restarts after a failure",
        (
            *("archive", "beat", "db", "flower", "live-blue", "live-green", "metrics", "proxy"),
            *("redis", "web-blue", "web-green", "worker-blue", "worker-green"),
        ),
        "`unless-stopped` brings a site back after a reboot and after any number of crashes. "
        "`status` names what restarts again and again.",
    ),
    Rule(
        "5.26",
        "A health check",
        ("archive", "web-job"),
        "A job runs one command and ends. The archive writes its state to a file for `status`.",
    ),
    Rule(
        "5.27",
        "The latest version of an image",
        ("images",),
        "Base images are named by their major version. You pull them: no start needs a network.",
    ),
)
