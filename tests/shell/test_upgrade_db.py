"""`upgrade-db` without an engine: its steps, what a kill leaves, which data the next start serves.

The volume is a folder, on which the real db/clusters.sh works; servers are folders and files.
"""

from __future__ import annotations

import signal

import pytest
from results import Result

from .machine import Clone

TRIAL = r"""
. "$ROOT/commands/upgrade-db.sh"
calls=$ROOT/calls
note() {
    printf '%s\n' "$*" >>"$calls"
    [ "$*" != "$ASKS" ] || ! is_locked prod || printf 'locked by another process\n' >>"$calls"
    case $* in
    $KILLS)
        kill -s KILL "$$"
        [ -z "$KILLS_ALL" ] || command sh -c 'kill -s KILL "$PPID"'
        ;;
    $FAILS) return 1 ;;
    esac
}
sh() { note "run.sh $2 $3"; }
in_volume() {
    volume_major=${2#postgres:}
    shift 2
    case $1 in look | room) ;; *) note "volume $*" || return 1 ;; esac
    PGDATA=$ROOT/volume PG_MAJOR=$volume_major command sh "$ROOT/db/clusters.sh" "$@"
    case $1 in look | room) ;; *) note "volume has $2" ;; esac
}
compose() {
    note "compose $*" || return 1
    case " $* " in
    *" up "*" db-other "*)
        mkdir -p "$ROOT/volume/$POSTDO_OTHER_CLUSTER" &&
            echo "${POSTDO_OTHER_IMAGE#*:}" >"$ROOT/volume/$POSTDO_OTHER_CLUSTER/PG_VERSION"
        echo healthy >"$ROOT/runs-db-other"
        ;;
    *" up "*" db "*) serve ;;
    *" up "*web*) echo healthy >"$ROOT/runs-web-blue" ;;
    *" stop db "*) rm -f "$ROOT/runs-db" ;;
    *" stop "*web*) rm -f "$ROOT/runs-web-blue" ;;
    esac
}
serve() { # as db/start.sh: the cluster that the volume names, with the image of its major
    serve_live=$(sed -n 's/^live=//p' "$ROOT/volume/postdo-clusters" 2>/dev/null)
    serve_major=$(cat "$ROOT/volume/${serve_live:-.}/PG_VERSION")
    [ "$serve_major" = "${POSTGRES_IMAGE#*:}" ] || return 1
    echo "$POSTGRES_IMAGE" >"$ROOT/runs-db"
}
start_database() {
    note start_database && serve || fail "db does not start" "see"
    rm -f "$ROOT/closed" # db/roles/settle.sql
    end_left_link
}
stop_database() { note stop_database && rm -f "$ROOT/runs-db"; }
docker() {
    case $* in
    *Config.Image*) echo "$MADE_WITH" ;;
    "stop "* | "rm "*) note "docker $1 other" && rm -f "$ROOT/runs-db-other" ;;
    esac
}
image_to_come() { printf '%s' "$POSTGRES_IMAGE"; }
has_image() { [ "$(cat "$ROOT/runs-db" 2>/dev/null)" = "$3" ]; }
container_of() { case $2 in db | db-other | web-blue) printf 'id-%s' "$2" ;; esac; }
is_running() { is_well "$@"; }
is_well() { [ -e "$ROOT/runs-$2" ]; }
state_of() { if is_well "$@"; then printf healthy; else printf stopped; fi; }
mode_runs() { is_well prod web-blue; }
lend_database() { :; }
one_off_runs() { false; }
superuser_of() { printf postdo_superuser; }
run_upgrade_sql() {
    case $1 in wal-level.sql) printf '%s' "$WAL" ;; *) printf '%s' "$TABLESPACE" ;; esac
}
hold_requests() { note hold; }
release_requests() { note release; }
lock_live() { note lock; }
unlock_live() { note unlock; }
restart_live() { note restart; }
check_on_other() { note check; }
run_upgrade() {
    note "${1#db-} $2" || return 1
    case $2 in
    hand-over) : >"$ROOT/closed" ;;
    unfence | unlink | relink) rm -f "$ROOT/closed" ;;
    obstacles) printf '%s' "$OBSTACLES" ;;
    definitions) printf '%s' "$DEFINED" ;;
    copied) printf 'copied=%s\ntables=3\nerrors=%s\n' "$COPIED" "$ERRORS" ;;
    compare) printf '%s' "$DIFFERS" ;;
    clients) printf '%s' "$CLIENTS" ;;
    check) printf '%s' "$LACKS" ;;
    esac
}
smoke_test() { note smoke_test; }
stop_jobs() { :; }
settle_archive() { :; }
additions() { :; }
live_colour() { printf blue; }
require_engine() { :; }
require_own_stack() { :; }
open_log() { LOG_FILE=$ROOT/log && : >"$LOG_FILE"; }
case $START in
yes) main() {
        MODE=prod build=no
        prepare_environment && make_state_folder "$STATE" && take_lock prod && open_log prod
        remove_left_upgrade
        export_compose_facts
        require_volume_major prod
        start_database prod
        keep_link
        end_switch
    } ;;
esac
"""
OF_17 = {"PG_VERSION": "17\n", "rows": "old"}


class Site:
    """A production on PostgreSQL 17 whose .env names 18."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.obstacles = ""
        clone.has_started()
        clone.add_command("trial", TRIAL)
        (clone.root / "calls").touch()
        self.volume = clone.root / "volume"
        (self.volume / "base").mkdir(parents=True)
        for name, text in OF_17.items():
            (self.volume / name).write_text(text)
        self.runs(db="postgres:17", web_blue="healthy", proxy="healthy")

    def runs(self, **states: str) -> None:
        for name, state in states.items():
            (self.clone.root / f"runs-{name.replace('_', '-')}").write_text(f"{state}\n")

    def run(self, *options: str, **variables: str) -> Result:
        (self.clone.root / "calls").write_text("")
        usual = dict.fromkeys(
            ("KILLS", "KILLS_ALL", "FAILS", "TABLESPACE", "DIFFERS", "CLIENTS", "LACKS", "START"),
            "",
        )
        usual["ASKS"] = ""
        given = {
            "MADE_WITH": "postgres:17",
            "WAL": "logical",
            "DEFINED": "a",
            "ERRORS": "0",
            "COPIED": "3",
        }
        given = {**given, "OBSTACLES": self.obstacles, **usual, **variables}
        return self.clone.run("-0", "trial", *options, cwd=None, **given)

    def calls(self) -> list[str]:
        return (self.clone.root / "calls").read_text().splitlines()

    def facts(self) -> dict[str, str]:
        """What the volume says."""
        path = self.volume / "postdo-clusters"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("=", 1) for line in lines)

    @property
    def serves(self) -> str:
        """The image that PostgreSQL runs from."""
        path = self.clone.root / "runs-db"
        return path.read_text().strip() if path.exists() else ""

    @property
    def is_switching(self) -> bool:
        """It is known that a switch was begun and has not ended."""
        return bool(list(self.clone.state.glob("switching-*")))

    @property
    def is_closed(self) -> bool:
        """The database lets nobody in."""
        return (self.clone.root / "closed").exists()

    def has_old_data(self) -> bool:
        return {name: (self.volume / name).read_text() for name in OF_17} == OF_17


@pytest.fixture
def linkable(dash_clone: Clone) -> Site:
    """One whose rows can be copied while it serves."""
    return Site(dash_clone)


@pytest.fixture
def site(linkable: Site) -> Site:
    """One whose rows cannot."""
    linkable.obstacles = "the table line has no primary key"
    return linkable


STEPS = [
    "db obstacles",
    "run.sh -0 backup",
    "volume remove pg18",
    "volume write live=. live_image=postgres:17 other=pg18 other_image=postgres:18 state=copying",
    "compose prod up -d --no-build --no-deps --force-recreate --wait --wait-timeout 180 db-other",
    "other check",
    "compose prod stop web-blue",
    "other clients",
    "db copy",
    "other analyze",
    "other compare",
    "docker stop other",
    "docker rm other",
    "stop_database",
]
AFTER = [
    "start_database",
    "compose prod up -d --no-build --no-deps --no-recreate --wait --wait-timeout 180 web-blue",
    "smoke_test",
]


def test_the_data_moves_while_the_site_is_stopped_and_the_old_data_stays(site: Site) -> None:
    done = site.run("--yes").assert_ok()

    steps = [call for call in site.calls() if not call.startswith("volume has")]
    assert steps[: len(STEPS)] == STEPS
    assert steps[len(STEPS) + 1 :] == AFTER
    assert site.facts() | {"since": ""} == {
        "live": "pg18", "live_image": "postgres:18", "other": ".", "other_image": "postgres:17",
        "state": "switched", "way": "dump", "since": "",
    }  # fmt: skip
    assert site.serves == "postgres:18"
    assert site.has_old_data()
    assert "upgrade-db --back" in done.out


def test_it_says_for_how_long_and_asks_before_anything(site: Site) -> None:
    refused = site.run().assert_refused("the site will be down for about", "upgrade-db --yes", 2)
    assert "the table line has no primary key" in refused.err
    assert site.calls() == ["db obstacles"]


@pytest.mark.parametrize(
    ("variables", "what", "remedy"),
    [
        ({"POSTGRES_IMAGE": "postgres:17"}, "is on PostgreSQL 17 already", "newer version"),
        ({"POSTGRES_IMAGE": "postgres:16"}, "PostgreSQL 16 is older", "newer version"),
        ({"MADE_WITH": ""}, "its image is not known", "POSTGRES_IMAGE=postgres:17 sh run.sh"),
        ({"TABLESPACE": "fast"}, "has the tablespace fast", "pg_default"),
        ({"FAILS": "run.sh*"}, "the backup before the upgrade failed", "run the command again"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(
    site: Site, variables: dict[str, str], what: str, remedy: str
) -> None:
    site.run("--yes", **variables).assert_refused(what, remedy)
    assert not (site.volume / "postdo-clusters").exists()
    assert site.serves == "postgres:17"
    assert not [call for call in site.calls() if "stop" in call]


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"LACKS": "what=no vector\nnext=another image\n"}, "no vector"),
        ({"CLIENTS": "joe, database shop"}, "is connected to the database: joe, database shop"),
        (
            {"FAILS": "db copy"},
            "could not be copied to PostgreSQL 18; the old data is unchanged",
        ),
        ({"DIFFERS": "table public.item"}, "the copy differs from the database"),
        ({"FAILS": "smoke_test"}, "so it goes back to PostgreSQL 17"),
        ({"FAILS": "start_database"}, "db does not start"),
    ],
)
def test_whatever_fails_the_site_goes_on_with_its_own_data(
    site: Site, variables: dict[str, str], what: str
) -> None:
    site.run("--yes", **variables).assert_refused(what, "")

    assert site.serves == "postgres:17"
    assert (site.clone.root / "runs-web-blue").exists()
    assert not site.is_switching
    assert site.facts() == {"live": ".", "live_image": "postgres:17", "state": "left"}
    assert not (site.volume / "pg18").exists()
    assert site.has_old_data()


KILLED = [
    *STEPS, *AFTER,
    "volume has pg18", "volume has live=.", "volume write live=pg18 *", "volume has live=pg18",
]  # fmt: skip
KILLED_AND_DELETED = ["db copy", "volume has live=pg18", "smoke_test"]


@pytest.mark.parametrize(
    ("step", "state"),
    [
        *((step, "kept") for step in KILLED),
        *((step, "deleted") for step in KILLED_AND_DELETED),
    ],
)
def test_a_kill_at_any_step_leaves_one_cluster_that_the_next_start_serves(
    site: Site, step: str, state: str
) -> None:
    killed = site.run("--yes", KILLS=step)
    assert killed.status == -signal.SIGKILL
    if state == "deleted":
        for path in site.clone.state.glob("clusters-*"):
            path.unlink()

    downtime = "compose prod stop web-blue" in site.calls()
    assert site.is_switching == (downtime and "smoke_test" not in site.calls()[:-1])

    site.run(START="yes")
    switched = site.facts().get("live") == "pg18"
    # Where nothing is known any more, a start is refused: .env names 18, and the data is of 17.
    assert site.serves == ("postgres:18" if switched else "postgres:17") or state == "deleted"
    assert site.has_old_data()

    site.runs(web_blue="healthy")
    again = site.run("--yes")
    assert not site.is_switching
    assert site.facts()["live"] == "pg18"
    assert switched == ("is not finished" in again.text)
    assert site.serves == "postgres:18"


def test_going_back_asks_and_says_without_which_rows(site: Site) -> None:
    site.run("--yes").assert_ok()
    site.run("--back").assert_refused("without what was written since", "--back --yes", 2)

    back = site.run("--back", "--yes").assert_ok()

    assert "POSTGRES_IMAGE=postgres:17" in back.out
    assert (site.facts()["live"], site.facts()["other"]) == (".", "pg18")
    assert site.serves == "postgres:17"
    site.run("--back", "--yes").assert_refused("there is no upgrade", "do nothing")
    site.run("--finish").assert_refused("but the database runs on postgres:17", "")
    site.clone.set_in_env(POSTGRES_IMAGE="postgres:17")
    site.run("--finish").assert_ok()
    assert not (site.volume / "pg18").exists()
    assert site.has_old_data()


def test_finishing_removes_the_old_data_and_env_counts_again(site: Site) -> None:
    site.run("--yes").assert_ok()
    site.clone.set_in_env(POSTGRES_IMAGE="postgres:17")
    site.run("--finish").assert_refused("but the database runs on postgres:18", "")
    site.clone.set_in_env(POSTGRES_IMAGE="postgres:18")

    site.run("--finish").assert_ok()

    assert {path.name for path in site.volume.iterdir()} == {"pg18", "postdo-clusters"}
    assert site.facts() == {"live": "pg18", "live_image": "postgres:18", "state": "done"}
    assert not list(site.clone.state.glob("clusters-*"))
    site.run(START="yes").assert_ok()
    assert site.serves == "postgres:18"
    site.clone.set_in_env(POSTGRES_IMAGE="postgres:17")
    site.run(START="yes").assert_refused(
        "was created by PostgreSQL 18", "POSTGRES_IMAGE=postgres:18"
    )


def test_a_start_of_another_major_names_the_command(site: Site) -> None:
    site.run(START="yes").assert_refused(
        "was created by PostgreSQL 17, but the image is PostgreSQL 18", "sh run.sh -0 upgrade-db"
    )
    assert site.serves == "postgres:17"
    assert site.calls() == []


# --- While it serves ------------------------------------------------------------------------------


COPIED = [
    "db obstacles",
    "run.sh -0 backup",
    "volume remove pg18",
    "volume write live=. live_image=postgres:17 other=pg18 other_image=postgres:18 state=copying",
    "compose prod up -d --no-build --no-deps --force-recreate --wait --wait-timeout 180 db-other",
    "other check",
    "db definitions",
    "db copy",
    "other follow",
    "other copied",
    "other catch-up",
    "other analyze",
    "check",
    "db definitions",
    "other definitions",
    "other write-out",
]
SWITCHED = [
    "hold",
    "lock",
    "other hand-over",
    "docker stop other",
    "docker rm other",
    "compose prod stop db",
    "unlock",
    "volume write live=pg18 live_image=postgres:18 live_major=18 other=. other_image=postgres:17"
    " other_major=17 state=linked definitions=a",
    "compose prod up -d --no-build --no-deps --wait --wait-timeout 180 db",
    "smoke_test",
    "release",
]
FOLLOWS = [
    "compose prod up -d --no-build --no-deps --force-recreate --wait --wait-timeout 180 db-other",
    "other relink",
]


def essential(calls: list[str]) -> list[str]:
    """Without what the two servers do at the same time, whose order may be any."""
    at_once = {"docker stop other", "docker rm other", "compose prod stop db"}
    return [call for call in calls if not call.startswith("volume has") and call not in at_once]


def test_the_site_serves_meanwhile_and_the_old_version_follows_the_new_one(linkable: Site) -> None:
    done = linkable.run().assert_ok()

    assert essential(linkable.calls()) == essential([*COPIED, *SWITCHED, *FOLLOWS])
    assert linkable.facts()["live"] == "pg18"
    assert linkable.serves == "postgres:18"
    assert linkable.has_old_data()
    assert "with all that was written" in done.out
    assert not linkable.is_switching


def test_back_and_forward_need_no_copy_and_finishing_ends_it(linkable: Site) -> None:
    linkable.run().assert_ok()

    linkable.run("--back").assert_ok()
    assert (linkable.serves, linkable.facts()["live"], linkable.facts()["other"]) == (
        "postgres:17", ".", "pg18",
    )  # fmt: skip
    assert "db copy" not in linkable.calls()
    assert linkable.calls().count("other relink") == 2, "before and after"
    linkable.run("--back").assert_refused("on the old version already", "upgrade-db")

    linkable.run().assert_ok()
    assert linkable.serves == "postgres:18"
    linkable.run().assert_refused("is not finished", "--finish")

    linkable.run("--finish").assert_ok()
    assert "db unlink" in linkable.calls()
    assert {path.name for path in linkable.volume.iterdir()} == {"pg18", "postdo-clusters"}


def test_a_server_without_logical_wal_restarts_while_requests_wait(linkable: Site) -> None:
    linkable.run(WAL="replica").assert_ok()
    at = linkable.calls().index("restart")
    assert linkable.calls()[at - 1 : at + 2] == ["hold", "restart", "release"]


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"FAILS": "other follow"}, "could not be copied to PostgreSQL 18; the old data is unchan"),
        (
            {"ERRORS": "9", "COPIED": "2"},
            "could not be copied to PostgreSQL 18; the old data is unchanged",
        ),
        ({"FAILS": "check"}, "the site does not work on PostgreSQL 18; nothing was changed"),
        ({"FAILS": "lock"}, "the switch to PostgreSQL 18 failed"),
        ({"FAILS": "other hand-over"}, "the switch to PostgreSQL 18 failed"),
        ({"FAILS": "compose prod stop db"}, "the switch to PostgreSQL 18 failed"),
        ({"FAILS": "volume write live=pg18*"}, "the switch to PostgreSQL 18 failed"),
        ({"FAILS": "smoke_test"}, "the switch to PostgreSQL 18 failed"),
    ],
)
def test_whatever_fails_while_it_serves_it_goes_on_with_its_own_data(
    linkable: Site, variables: dict[str, str], what: str
) -> None:
    linkable.run(**variables).assert_refused(what, "")

    assert linkable.serves == "postgres:17"
    assert linkable.facts() == {"live": ".", "live_image": "postgres:17", "state": "left"}
    assert not (linkable.volume / "pg18").exists()
    assert linkable.calls()[-2].startswith("volume write") or "db unlink" in linkable.calls()


KILLED_COPYING = [*COPIED[3:5], "db copy", "other follow", "check"]
KILLED_SWITCHING = ["lock", "other hand-over", "compose prod stop db", SWITCHED[-4], "smoke_test"]


@pytest.mark.parametrize(
    ("step", "everything"),
    [
        *((step, "yes") for step in [*KILLED_COPYING, *SWITCHED[1:]]),
        *((step, "") for step in KILLED_SWITCHING),
    ],
)
def test_a_kill_while_it_serves_leaves_one_cluster_that_the_next_start_serves(
    linkable: Site, step: str, everything: str
) -> None:
    killed = linkable.run(KILLS=step, KILLS_ALL=everything)
    assert killed.status == -signal.SIGKILL
    switched = linkable.facts().get("live") == "pg18"
    # What holds the requests ends by itself; only everything at once can leave none that serves.
    assert linkable.serves == ("postgres:18" if switched else "postgres:17") or everything
    assert linkable.is_switching == ("hold" in linkable.calls())

    linkable.run(START="yes")

    assert not linkable.is_switching
    assert not linkable.is_closed
    assert linkable.serves == ("postgres:18" if switched else "postgres:17")
    assert linkable.facts().get("state", "left") == ("linked" if switched else "left")
    assert linkable.has_old_data()
    if not switched:
        assert "db unlink" in linkable.calls() or not linkable.facts()
        assert not (linkable.volume / "pg18").exists()


def test_definitions_that_changed_end_the_way_back(linkable: Site) -> None:
    linkable.run().assert_ok()
    linkable.run("--back", DEFINED="b").assert_refused("definitions in the database have", "--fini")
    assert linkable.serves == "postgres:18"


def test_a_switch_that_goes_on_alone_has_the_lock(linkable: Site) -> None:
    linkable.run(KILLS="lock", ASKS="compose prod stop db")
    assert "locked by another process" in linkable.calls()
    assert linkable.facts()["live"] == "pg18"


@pytest.mark.parametrize("options", [(), ("--back",), ("--finish",)])
def test_after_a_switch_that_was_killed_the_site_is_started_first(
    linkable: Site, options: tuple[str, ...]
) -> None:
    linkable.run(KILLS="unlock", KILLS_ALL="yes")

    linkable.run(*options)

    assert linkable.calls()[0] == "run.sh -0 --no-build"


def test_a_switch_that_was_taken_back_in_vain_stays_known(linkable: Site) -> None:
    linkable.run(FAILS="compose prod up -d --no-build --no-deps --wait *").assert_refused(
        "the switch to PostgreSQL 18 failed", ""
    )
    assert linkable.serves == ""
    assert linkable.is_switching
