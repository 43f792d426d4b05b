"""A production without an engine: `run.sh`'s commands with noted calls, for the tests of releases.

commands/production.sh (or rollback.sh) is run with lib/ as it is, but for the functions that reach
the engine, the network or another file of the state: those only note that they were called, and
answer as the test says. So each situation takes no time. (Releases run for real in tests/stack.)
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .machine import PROJECT, Toolbox

NOTED = """
require_engine prepare_environment read_environment require_own_stack take_lock
remove_left_copy remove_left_upgrade require_port warn_of_trusted_visitors warn_of_other_uploads
require_domain_leads_here note_twin get_other_certificates
export_compose_facts require_volume_major require_roles
require_disk build_image try_what_restarts start_database start_additions stop_additions
stop_database copy_for_rehearsal drop_copy keep_logs note_name in_proxy show_tail
smoke_test remove_old_images watch_new_version drain hold_requests release_requests
limit_proxy_memory stop_accepting require_proxy_image
leave_restore_point forget_restore_point move_restore_point stop_archive
"""


HARNESS = """
set -eu
umask 077 # the proxy's own user reads what is live all the same
ROOT=$PROJECT STATE=$FOLDER ENV_FILE=/dev/null MODE=prod COMMAND= BACKUP_KEEP=3
HEALTH_PATH=/readyz EMAIL_URL=
PROJECT_NAME=shop POSTGRES_USER=shop POSTGRES_DB=shop START_TIMEOUT=9
APP_VERSION=1.5 APP_REVISION=abc WEB_MEMORY=512m
for library in log result modes image clusters compose parts explain prepare proxy colours \\
    releases release_watch hooks dry_run hold maintenance copy pitr $LIBRARIES; do
    . "$ROOT/lib/$library.sh"
done
. "$ROOT/commands/$SCRIPT.sh"

note() {
    printf '%s\\n' "$*" >>"$FOLDER/calls"
    case $* in $FAILS | $ALSO_FAILS) return 1 ;; esac
}
for name in $NOTED; do eval "$name() { note $name \\"\\$@\\"; }"; done
sleep() {
    note sleep "$@"
    [ -z "$SIGNAL" ] || { kill -s "$SIGNAL" "$$" && SIGNAL=; }
}
compose() {
    note compose "$@" || return 1
    # The engine would make it, as root.
    case " $* " in *" up "*" proxy "*) [ -d "$FOLDER/live" ] || note "no live folder" ;; esac
    case " $* " in *" up "*) becomes=healthy ;; *" stop "*) becomes=stopped ;; *) return 0 ;; esac
    for word; do
        case $word in
        db | proxy | web-* | live-* | worker-*) printf %s "$becomes" >"$FOLDER/states/$word" ;;
        esac
    done
}
docker() {
    note docker "$@" || return 1
    case "$*" in
    *postdo.parts*) printf '%s' "$BUILT_WITH" ;;
    *postdo.image*) printf '%s' "$LABEL" ;;
    *image.version*) echo 2.0 ;;
    *image.revision*) echo def ;;
    *Id*next* | *Id*"$SERVES") echo sha256:1 ;;
    *Id*) echo sha256:0 ;;
    "image inspect "*release-*) case " $IMAGES " in *" ${3##*-} "*) ;; *) return 1 ;; esac ;;
    "image ls "*) printf '%s' "$LISTED" ;;
    "buildx du "*) cat "$FOLDER/cache" ;;
    "create "*) echo id-created ;;
    "cp "*) : >"$4" ;;
    "logs "*) cat "$FOLDER/logs" ;;
    *applied.sql) cat "$FOLDER/applied" ;;
    *RestartCount*Running*) printf '%s true' "$RESTARTS" ;;
    *" /proc/net/tcp "*) head -n 1 "$FOLDER/looks" | tr ';' '\\n' && sed -i 1d "$FOLDER/looks" ;;
    *RestartCount*id-worker*) printf '%s' "$WORKER_RESTARTS" ;;
    *StartedAt*) case "$*" in $RESTARTED) echo "$(grep -c StartedAt "$FOLDER/calls")" ;; esac ;;
    *redis-cli*) printf 'used_memory:%s\r\n' "$USED" ;;
    *RestartCount*) printf '%s' "$RESTARTS" ;;
    "rm id-created") ;;
    "rm id-"*) rm "$FOLDER/states/${2#id-}" ;;
    esac
}
open_log() {
    note open_log "$@"
    LOG_FILE=$FOLDER/log
    : >"$LOG_FILE"
}
one_off() {
    note one_off "$@"
    sh -c 'printf "%s %s" "${POSTDO_APPROVE-}" "${POSTDO_CONCURRENTLY-}"' >"$FOLDER/options"
    printf '%s\n' "$SAYS"
    cp "$FOLDER/to-come" "$RESULT_FOLDER/$RESULT" 2>/dev/null || true
    return "$ONE_OFF"
}
run_to_its_end() {
    note run_to_its_end "$@" || return 1
    [ "$COMPOSE_INPUT" != given ] || printf '%s\n' "$SAYS"
}
sync() { : >"$FOLDER/synced-${1##*/}"; }
live_folder() { printf '%s' "$FOLDER/live"; }
archive_folder() { printf '%s' "$FOLDER/archive"; }
take_snapshot() { :; }
state_of() { cat "$FOLDER/states/$2" 2>/dev/null || printf stopped; }
container_of() { [ ! -e "$FOLDER/states/$2" ] || printf 'id-%s' "$2"; }
image_id() {
    case $1 in shop-proxy:live) printf '%s' "$PROXY_HAS" ;; *) printf '%s' "$CADDY_IS" ;; esac
}
has_image() { [ "$HAS_IMAGE" = "web-${2#*-} $3" ]; }
planned_for() {
    case $1 in "$PLANNED_TO_REPLACE") printf replace ;; *) printf '%s' "$PLANNED" ;; esac
}
additions() { printf '%s' "$ADDITIONS"; }
manual_services() { printf '%s' "$MANUAL"; }
own_additions() { printf '%s' "$OWN_ADDITIONS"; }
part_services() {
    ! has_part tasks || printf 'early redis\ncompanion worker\nlate beat\n'
    ! has_part live || printf 'companion live\n'
}
has_certificate() { [ -e "$FOLDER/certificate-$1" ]; }
wait_until() {
    note wait_until "$@" || return 1
    case $2 in has_certificate) : >"$FOLDER/certificate-$3" ;; *) shift && "$@" ;; esac
}
certificate_reason() { printf 'the reason'; }
certificate_remedy() { printf 'the remedy'; }
production_address() { printf 'http://shop/'; }
explain_unhealthy() { note explain_unhealthy "$@" && fail "$* is not healthy" "see"; }
place_of() { printf .env; }
is_locked() { false; }
[ ! -e "$FOLDER/migration-files" ] || migration_files() { cat "$FOLDER/migration-files"; }
give_back() { :; }
settle_archive() { :; }
release_locks() { :; }
start_ticker() { :; }
handle_signals
mkdir -p "$RESULT_FOLDER"
UNDO=$UNDO_AT_START
HOOKS=$FOLDER/hooks
HOOK_SECONDS=${LIMIT:-$HOOK_SECONDS}
"$MAIN" "$@"
"""


START = [
    "require_engine",
    "prepare_environment",
    "require_own_stack prod",
    "take_lock prod",
    "open_log prod",
    "remove_left_copy",
    "remove_left_upgrade",
    "require_port HTTP_PORT prod",
    "warn_of_trusted_visitors",
    "export_compose_facts",
    "warn_of_other_uploads",
    "require_volume_major prod",
    "require_proxy_image",
    "require_roles prod",
]
BUILD = ["require_disk 1000", "build_image prod", "try_what_restarts"]
UP = "compose prod up -d --no-build --no-deps"
WAIT = "--wait --wait-timeout 9"


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str
    calls: list[str]


class Production:
    """The state of a production, and its releases."""

    def __init__(self, folder: Path, toolbox: Toolbox) -> None:
        self.folder = folder
        self._toolbox = toolbox
        for name in ("states", "result"):
            (folder / name).mkdir()

    def serves(self, colour: str, **states: str) -> None:
        """A release before this one."""
        (self.folder / "live").mkdir()
        (self.folder / "live/upstream").write_text(f"web-{colour}")
        self.runs(**{"db": "healthy", "proxy": "healthy", f"web_{colour}": "healthy", **states})

    def runs(self, **states: str) -> None:
        for service, state in states.items():
            (self.folder / "states" / service.replace("_", "-")).write_text(state)

    def files(self) -> dict[str, str]:
        """Every file, but for what the test itself notes."""
        own = ("calls", "to-come")
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.name not in own)
        return {str(path): path.read_text() for path in found}

    @property
    def live(self) -> str:
        path = self.folder / "live/upstream"
        return path.read_text() if path.exists() else ""

    def record(self, number: int) -> dict[str, str]:
        """What is kept of a release."""
        lines = (self.folder / f"releases/{number}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def released(self, *outcomes: str, **replaces: str) -> None:
        """Earlier releases, from number 1, of which the last one has the image that serves.

        Each replaced the last one before it that is live, or what `replaces` says: r3="1".
        """
        (self.folder / "releases").mkdir(exist_ok=True)
        before = ""
        for number, outcome in enumerate(outcomes, start=1):
            image = 1 if number == len(outcomes) else 100 + number
            (self.folder / f"releases/{number}").write_text(
                f"version=v{number}\nimage=sha256:{image}\noutcome={outcome}\n"
                f"replaces={replaces.get(f'r{number}', before)}\n"
            )
            before = str(number) if outcome == "live" else before

    def has_migrations(self, number: int, *names: str) -> None:
        """What a release recorded of its code."""
        with (self.folder / f"releases/{number}").open("a") as record:
            record.writelines(f"migration={name}\n" for name in names)

    def run(self, *arguments: str, result: str = "", **variables: str) -> Done:
        (self.folder / "to-come").write_text(result)
        (self.folder / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            self.argv(*arguments),
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr, self.calls())

    def calls(self) -> list[str]:
        """What was called so far."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def argv(self, *arguments: str) -> list[str]:
        shell = self._toolbox.shell("dash").folders[0] / "sh"
        return [str(shell), "-c", HARNESS, "run.sh", *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        usual = {
            "PROJECT": str(PROJECT),
            "FOLDER": str(self.folder),
            "NOTED": NOTED,
            "SWITCH_SECONDS": str(self.folder / "switch-seconds"),
            "PATH": os.environ["PATH"],
            **dict.fromkeys(("FAILS", "HAS_IMAGE", "ADDITIONS", "DOMAIN", "PROD_DB_PORT"), ""),
            **dict.fromkeys(
                ("DJANGO_SUPERUSER_EMAIL", "SAYS", "SIGNAL", "OWN_ADDITIONS", "MANUAL"), ""
            ),
            "COMPOSE_PROFILES": "",
            "FLOWER_PORT": "5555",
            "METRICS_PORT": "9464",
            "WORKER_RESTARTS": "0",
            **dict.fromkeys(("RESTARTED", "PLANNED_TO_REPLACE"), ""),
            "USED": "0",
            "HTTPS_PORT": "443",
            "MAIN": "main",
            "LABEL": "production",
            "IMAGE": "",
            "UNDO_AT_START": "",
            "SMOKE_PATHS": "",
            "GIVEN": "",
            "SCRIPT": "production",
            "SERVES": "none",
            "IMAGES": "",
            "LISTED": "",
            "ALSO_FAILS": "",
            "LIBRARIES": "",
            "PROXY_MEMORY": "256m",
            "CADDY_IMAGE": "caddy:2",
            **dict.fromkeys(("CADDY_IS", "PROXY_HAS"), "sha256:caddy"),
            "RESTARTS": "0",
            "TO_RESTART": "",
            "WATCH_SECONDS": "0",
            "DRAIN_SECONDS": "30",
            "KEEP_RELEASES": "5",
            "PLANNED": "keep",
            "ONE_OFF": "0",
        }
        usual["BUILT_WITH"] = variables.get("COMPOSE_PROFILES", "")
        return {**usual, **variables}


def started(colour: str, *companions: str) -> list[str]:
    services = " ".join(f"{name}-{colour}" for name in ("web", *companions))
    return [
        f"keep_logs {colour}",
        f"docker tag shop-web:next shop-web:{colour}",
        f"{UP} --force-recreate {WAIT} {services}",
    ]


PREPARED = [
    "start_database prod",
    "start_additions prod",
    "leave_restore_point before-migrations-1",
    "copy_for_rehearsal prepare",
    "one_off web true",
    "drop_copy",
    "forget_restore_point before-migrations-1",
]


def served(colour: str) -> list[str]:
    return [
        f"smoke_test {colour}",
        "docker tag shop-web:next shop-web:release-1",
        "leave_restore_point before-release-1",
        "remove_old_images",
    ]


def around(*additions: str) -> list[str]:
    return [
        f"{UP} {WAIT} {' '.join(('db', *additions, 'proxy'))}",
        "limit_proxy_memory 1",
        "in_proxy leave 30",
        "in_proxy current /etc/caddy/live/settings",
    ]


NUMBERED = "docker image inspect --format {{.Id}} shop-web:next"
LIVE = "docker image inspect --format {{.Id}} shop-web:blue"
PROXY_TAGGED = "docker tag caddy:2 shop-proxy:live"  # its container is about to be made
BEGUN = [*START, *BUILD, NUMBERED, *PREPARED]
FIRST = [*BEGUN, *started("blue"), *served("blue"), PROXY_TAGGED, *around()]
NEXT = [*START, *BUILD, LIVE, NUMBERED, *PREPARED, *started("green"), *served("green"), *around()]
STOPPED = ["stop_additions prod", "stop_database prod"]
