"""Which numbers are problems, who is told of them, what is started again: lib/*.awk alone."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest
from projects import REPOSITORY

NOW = 1_793_000_000
MINUTE = 60
GB = 1 << 30
WELL: dict[str, object] = {
    "disk.free": 40 * GB,
    "disk.size": 80 * GB,
    "disk.path": "/srv",
    "requests.minutes": 5,
    "requests.answers": 4000,
    "requests.errors": 2,
    "requests.slow": 3,
    "requests.logins": 1,
    "restarts.db": 0,
    "restarts.web-blue": 0,
    "machine.memory": 2 * GB,
    "machine.available": GB,
    "machine.started": NOW - 500_000,
    "machine.boot": "a",
    "machine.clock": "synchronized",
    "machine.reboot": "no",
    "database.connections": 12,
    "database.connections_limit": 100,
    "database.transaction": 2,
    "database.wraparound": 9,
    "database.read_only": 0,
    "tasks.waiting": 3,
    "tasks.oldest": 2,
    "tasks.failed": 0,
    "tasks.unknown": 0,
    "images.db.days": 20,
}


def awk(*programs: str, text: str = "", **variables: object) -> list[str]:
    """What awk programs of lib/ print, given the name of a file and an input."""
    words = [word for name in programs for word in ("-f", str(REPOSITORY / "lib" / name))]
    files = variables.pop("files")
    assert isinstance(files, list)
    given = [word for key, value in variables.items() for word in ("-v", f"{key}={value}")]
    done = subprocess.run(
        ["awk", *given, *words, *files], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


class Looks:
    """The looks of a watch at a production that is what a test says, one a minute."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.samples, self.troubles = folder / "samples", folder / "troubles"
        for path in (self.samples, self.troubles):
            path.touch()
        self.told: list[tuple[int, str, str]] = []  # when, begin or end, name
        self.delivers = True
        self.limits = ""

    def problems(self, facts: dict[str, object]) -> list[list[str]]:
        """NAME, WHAT and NEXT of what the numbers say."""
        text = "".join(f"number\tproduction.{key}\t{value}\n" for key, value in facts.items())
        files = [str(self.samples), "facts=yes", "-"]
        found = awk(
            "limits.awk",
            "checks.awk",
            text=text,
            files=files,
            at="production",
            flag="-0",
            now=self.now,
            limits=self.limits,
        )
        return [found[i : i + 3] for i in range(0, len(found), 3)]

    def look(
        self, facts: dict[str, object] | None = None, *named: str, frozen: str = "none"
    ) -> None:
        """One look, and what follows; `named` are problems that a look finds by itself."""
        facts = facts or WELL
        found = [*self.problems(facts), *([name, "what", "next"] for name in named)]
        self.judge("".join("\t".join(one) + "\n" for one in found), frozen)
        with self.samples.open("a") as samples:
            machine = {key: facts[f"machine.{key}"] for key in ("boot", "started")}
            kept = {"disk": facts["disk.free"], **machine}
            kept |= {key: value for key, value in facts.items() if key.startswith("restarts.")}
            samples.write(f"{self.now} {' '.join(f'{k}={v}' for k, v in kept.items())}\n")
        self.now += MINUTE

    def judge(self, problems: str, frozen: str) -> None:
        """As lib/watch.sh does: what to tell, then the state after it was told, or was not."""
        files = [str(self.troubles), "problems=yes", "-"]
        lines = awk(
            "alerts.awk",
            text=problems,
            files=files,
            now=self.now,
            frozen=frozen,
            delivered="yes" if self.delivers else "no",
        )
        with self.troubles.open("w") as state:
            state.writelines(
                line.removeprefix("state\t") + "\n" for line in lines if line.startswith("state\t")
            )
        for line in lines:
            how, name = line.split("\t")[:2]
            if how != "state" and self.delivers:
                self.told.append((self.now, how, name))


@pytest.fixture
def looks(tmp_path: Path) -> Looks:
    return Looks(tmp_path)


def test_when_all_is_well_nothing_is_told_in_a_day_of_load(looks: Looks) -> None:
    """Every five minutes: a night's backup, releases, load that comes and goes, a few restarts."""
    rng = random.Random(12)  # noqa: S311 - no secret
    free = 40 * GB
    for number in range(288):
        free -= rng.randrange(0, 8 << 20)  # 1 GB in a day
        if number == 40:
            free -= 3 * GB  # a backup
        if number == 44:
            free += 3 * GB  # an older one was removed
        facts = WELL | {
            "disk.free": free,
            "requests.answers": rng.randrange(0, 9000),
            "requests.errors": rng.randrange(0, 5),
            "requests.slow": rng.randrange(0, 5),
            "requests.logins": rng.randrange(0, 12),
            "machine.available": rng.randrange(GB // 8, GB),
            "machine.started": NOW - 500_000 + rng.randrange(0, 3),
            "database.connections": rng.randrange(4, 60),
            "database.transaction": rng.randrange(0, 900),
            "tasks.oldest": rng.randrange(0, 300),
        }
        looks.look(facts)
        looks.now += 4 * MINUTE
    assert looks.told == []


# What happens, and how many minutes of it there have to be before: a trend is none after one look.
FAULTS: dict[str, tuple[dict[str, object], int]] = {
    "disk": ({"disk.free": 900 << 20}, 0),
    "memory": ({"machine.available": GB // 50}, 0),
    "restarts-web-blue": ({"restarts.web-blue": 1}, 0),
    "errors": ({"requests.errors": 300}, 0),
    "slow": ({"requests.slow": 1500}, 0),
    "tasks-waiting": ({"tasks.oldest": 700}, 0),
    "tasks-failed": ({"tasks.failed": 1}, 0),
    "connections": ({"database.connections": 95}, 0),
    "transaction": ({"database.transaction": 1900}, 0),
    "wraparound": ({"database.wraparound": 51}, 0),
    "read-only": ({"database.read_only": 1}, 0),
    "clock": ({"machine.clock": "unsynchronized"}, 0),
    "reboot": ({"machine.reboot": "required"}, 0),
    "image-db": ({"images.db.days": 91}, 0),
    "logins": ({"requests.logins": 40}, 0),
}
# What a look finds by itself; a deaf worker is one that is unhealthy.
NAMED = (
    "backup",
    "archive",
    "service-web-blue",
    "service-worker-blue",
    "visitors",
    "certificate-shop.example",
    "docker",
)


@pytest.mark.parametrize("name", [*FAULTS, *NAMED])
def test_each_fault_is_told_once_within_two_minutes_and_once_when_it_is_over(
    looks: Looks, name: str
) -> None:
    for _ in range(2):
        looks.look()
    begins = looks.now
    change = FAULTS[name][0] if name in FAULTS else {}
    named = [] if name in FAULTS else [name]
    for _ in range(12):
        looks.look(WELL | change, *named)
    ends = looks.now
    after = {"restarts.web-blue": 1} if name.startswith("restarts") else {}
    for _ in range(20):
        looks.look(WELL | after)

    (told, begin, first), (over, end, second) = looks.told
    assert (begin, first, end, second) == ("begin", name, "end", name)
    assert told - begins < 2 * MINUTE
    assert over - ends <= 15 * MINUTE


def test_a_disk_that_will_be_full_in_a_day_is_told_and_one_that_filled_once_is_not(
    looks: Looks,
) -> None:
    for minute in range(0, 120, 10):
        looks.look(WELL | {"disk.free": 40 * GB - minute * GB // 20})  # 3 GB an hour
        looks.now += 9 * MINUTE
    assert [one[1:] for one in looks.told] == [("begin", "disk-trend")]
    assert "will be full in 11 hours" in looks.problems(WELL | {"disk.free": 34 * GB})[0][1]


def test_a_clock_that_is_set_is_told_and_a_reboot_is_not(looks: Looks) -> None:
    started = int(str(WELL["machine.started"]))
    looks.look()
    booted = WELL | {"machine.boot": "b", "machine.started": started + 20_000}
    for _ in range(2):
        looks.look(booted)
    assert looks.told == []
    for _ in range(2):
        looks.look(booted | {"machine.started": started + 20_000 - 3600})
    assert [one[1:] for one in looks.told] == [("begin", "clock")]


def test_what_comes_and_goes_is_one_trouble(looks: Looks) -> None:
    for number in range(30):
        looks.look(WELL, *(["certificate-a"] if number % 3 == 0 else []))
    assert [one[1] for one in looks.told] == ["begin"]


def test_a_moment_without_a_page_is_not_told(looks: Looks) -> None:
    for named in (["visitors"], [], ["visitors", "service-db"], [], []):
        looks.look(WELL, *named)
    assert looks.told == []


def test_what_nobody_could_be_told_is_told_as_soon_as_somebody_can(looks: Looks) -> None:
    looks.delivers = False
    for _ in range(5):
        looks.look(WELL | FAULTS["reboot"][0], "back-db-1")
    looks.delivers = True
    for _ in range(3):
        looks.look(WELL | FAULTS["reboot"][0])
    assert sorted(one[2] for one in looks.told) == ["back-db-1", "reboot"]
    looks.delivers = False
    for _ in range(8):
        looks.look()
    looks.delivers = True
    for _ in range(3):
        looks.look()
    assert looks.told[2][1:] == ("end", "reboot")
    assert len(looks.told) == 3


def test_what_was_done_is_told_once_and_has_no_end(looks: Looks) -> None:
    looks.look(WELL, "back-web-blue-1")
    for _ in range(10):
        looks.look()
    assert [one[1:] for one in looks.told] == [("begin", "back-web-blue-1")]


def test_what_an_operator_does_is_no_trouble(looks: Looks) -> None:
    """A release, maintenance, a hold: of the services nothing begins and nothing ends by them."""
    looks.look(WELL, "service-db")
    looks.look(WELL, "service-db")
    assert [one[1:] for one in looks.told] == [("begin", "service-db")]
    for _ in range(10):
        looks.look(WELL, "visitors", "service-web-blue", "maintenance", "held", frozen="services")
    for _ in range(10):
        looks.look(WELL, "maintenance", "release", "parts", frozen="all")
    assert len(looks.told) == 1
    looks.look(WELL | {"disk.free": 1}, frozen="services")
    assert looks.told[1][1:] == ("begin", "disk"), "the machine is looked at all the same"


def test_limits_of_env_count_and_zero_is_never(looks: Looks) -> None:
    looks.limits = "slow_percent=90 logins=0 disk_mb=100000"
    found = looks.problems(WELL | {"requests.slow": 2000, "requests.logins": 9999})
    assert [one[0] for one in found] == ["disk"]
    assert "less than 100000 MB left" in found[0][1]


def test_the_table_of_limits_is_the_same_for_awk_the_check_of_env_and_people() -> None:
    table = dict(
        re.findall(r'limit\["(\w+)"\] = (\d+)', (REPOSITORY / "lib/limits.awk").read_text())
    )
    (allowed,) = re.findall(r'limits = "\(([a-z_|]+)\)', (REPOSITORY / "lib/check.awk").read_text())
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \|", (REPOSITORY / "docs/alerts.md").read_text(), re.MULTILINE
    )
    assert allowed.split("|") == sorted(table)
    assert dict(rows) == table


# --- What is started again ------------------------------------------------------------------------


def plan(*services: str, folder: Path, tries: str = "") -> list[str]:
    """What is done, of lines NAME STATE SECONDS."""
    (folder / "tries").write_text(tries)
    files = [str(folder / "tries"), "services=yes", "-"]
    return awk("bring_back.awk", text="\n".join(services), files=files, now=NOW)


def test_what_is_stopped_is_started_and_what_is_unhealthy_for_long_restarted(
    tmp_path: Path,
) -> None:
    assert plan("db stopped 0", "web-blue other 0", "proxy stopped 0", folder=tmp_path) == [
        "start db",
        "start proxy",
    ]
    assert plan("db other 0", "web-blue unhealthy 100", folder=tmp_path) == []
    assert plan("db other 0", "web-blue unhealthy 200", folder=tmp_path) == ["restart web-blue"]


@pytest.mark.parametrize("database", ["stopped", "unhealthy"])
def test_a_database_at_its_recovery_is_left_alone_and_so_is_the_site_that_waits_for_it(
    tmp_path: Path, database: str
) -> None:
    found = plan(f"db {database} 900", "web-blue unhealthy 900", folder=tmp_path)
    assert found == (["start db"] if database == "stopped" else [])


def test_the_tries_are_bounded_and_wait_longer_each_time(tmp_path: Path) -> None:
    began, tries = [], ""
    for second in range(NOW, NOW + 3600, 5):
        (tmp_path / "tries").write_text(tries)
        files = [str(tmp_path / "tries"), "services=yes", "-"]
        (done,) = awk("bring_back.awk", text="web-blue stopped 0", files=files, now=second) or [""]
        if done == "start web-blue":
            began.append(second - NOW)
            tries += f"{second} web-blue\n"
        elif done:
            assert done == "give-up web-blue"
            assert len(began) == 6
            break
    assert began == [0, 15, 45, 105, 225, 465]
    assert plan("db stopped 0", tries=tries, folder=tmp_path) == ["start db"], "each by itself"
    old = "".join(f"{NOW - 3601 - n} web-blue\n" for n in range(9))
    assert plan("web-blue stopped 0", tries=old, folder=tmp_path) == ["start web-blue"]


# --- Where each limit lies ------------------------------------------------------------------------

# The last value that is none, what it counts beside, and the first value that is a problem.
BOUNDS: dict[str, tuple[str, object, object, dict[str, object]]] = {
    "disk": ("disk.free", 1000 << 20, (1000 << 20) - 1, {}),
    "memory": ("machine.available", 500, 499, {"machine.memory": 10_000}),
    "errors": ("requests.errors", 6, 7, {"requests.answers": 600}),
    "errors, but few": ("requests.errors", 4, 5, {"requests.answers": 5}),
    "slow": ("requests.slow", 6, 7, {"requests.answers": 30}),
    "slow, but few": ("requests.slow", 4, 5, {"requests.answers": 5}),
    "logins": ("requests.logins", 30, 31, {}),
    "connections": ("database.connections", 89, 90, {}),
    "transaction": ("database.transaction", 1800, 1801, {}),
    "wraparound": ("database.wraparound", 50, 51, {}),
    "tasks-waiting": ("tasks.oldest", 600, 601, {}),
    "tasks-failed": ("tasks.failed", 0, 1, {}),
    "tasks-unknown": ("tasks.unknown", 0, 1, {}),
    "image-db": ("images.db.days", 90, 91, {}),
    "clock": ("machine.clock", "unknown", "unsynchronized", {}),
    "reboot": ("machine.reboot", "unknown", "required", {}),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_limit_that_is_reached_is_told_and_one_less_is_not(looks: Looks, name: str) -> None:
    key, well, ill, beside = BOUNDS[name]
    assert looks.problems(WELL | beside | {key: well}) == []
    ((found, what, remedy),) = looks.problems(WELL | beside | {key: ill})
    assert found == name.partition(",")[0]
    assert what
    assert remedy


def test_what_is_not_known_is_no_problem(looks: Looks) -> None:
    assert looks.problems({"disk.path": "/srv"}) == []
    assert looks.problems(WELL | {"machine.memory": 0}) == []
    (found,) = looks.problems({"requests.errors": 5})
    assert found[0] == "errors", "the site answered nothing else"


def test_a_limit_of_zero_is_never_reached(looks: Looks) -> None:
    samples = [f"{NOW - 60 * ago} disk={60 * GB} restarts.web-blue=0\n" for ago in (120, 70, 5)]
    looks.samples.write_text("".join(samples))
    bad: dict[str, object] = {"restarts.web-blue": 9, "tasks.unknown": 0}
    for name, (key, _, ill, beside) in BOUNDS.items():
        if name not in ("clock", "reboot", "tasks-failed", "tasks-unknown"):
            bad |= {key: ill} | beside
    names = {one[0] for one in looks.problems(WELL | bad)}
    assert len(names) == 11
    assert looks.problems(WELL | bad | {"disk.free": GB})[0][0] == "disk-trend"
    limits = re.findall(r'limit\["(\w+)"\]', (REPOSITORY / "lib/limits.awk").read_text())
    looks.limits = " ".join(f"{name}=0" for name in sorted(set(limits)))
    assert looks.problems(WELL | bad) == []


def sampled(looks: Looks, *samples: str) -> list[str]:
    """The problems, after earlier looks, each `MINUTES_AGO KEY=VALUE...`."""
    lines = []
    for sample in samples:
        minutes, _, rest = sample.partition(" ")
        lines.append(f"{NOW - round(float(minutes) * MINUTE)} {rest}\n")
    looks.samples.write_text("".join(lines))
    return [one[1] for one in looks.problems(WELL | {"restarts.web-blue": 3})]


def test_a_disk_is_full_when_it_is_at_the_slower_of_both_rates(looks: Looks) -> None:
    full = "the disk of /srv will be full in {} hours if it fills up as it does now"
    # 40 GB are left: 2 GB in the last hour, 10 GB an hour before that.
    assert sampled(looks, f"120 disk={52 * GB}", f"60 disk={42 * GB}") == [full.format(20)]
    assert sampled(looks, f"120 disk={44 * GB}", f"60 disk={50 * GB}") == [full.format(20)]
    # None of an hour ago: no trend.
    assert sampled(looks, f"59 disk={52 * GB}") == []
    # It took a day for as much, grew in one of both times alone, or a day is left.
    assert sampled(looks, f"120 disk={44 * GB}", f"60 disk={40 * GB}") == []
    assert sampled(looks, f"120 disk={40 * GB}", f"60 disk={44 * GB}") == []
    assert sampled(looks, f"144 disk={44 * GB}", f"72 disk={42 * GB}") == []
    assert sampled(looks, f"143 disk={44 * GB}", f"71 disk={42 * GB}") == [full.format(24)]
    # Looks that the clock has put into the future.
    assert sampled(looks, f"120 disk={52 * GB}", f"60 disk={42 * GB}", "-5 disk=1") == [
        full.format(20)
    ]


def test_restarts_count_for_ten_minutes_and_anew_in_a_new_container(looks: Looks) -> None:
    told = "web-blue ended by itself and was started again, {} times in ten minutes"
    assert sampled(looks, "10 restarts.web-blue=1") == [told.format(2)]
    assert sampled(looks, "10.1 restarts.web-blue=1") == []
    assert sampled(looks, "9 restarts.web-blue=9") == []
    assert sampled(looks, "9 restarts.web-blue=5", "8 restarts.web-blue=1") == [told.format(2)]
    assert sampled(looks, "9 restarts.web-green=1") == []
    looks.limits = "restarts=2"
    assert sampled(looks, "9 restarts.web-blue=2") == []
    assert sampled(looks, "9 restarts.web-blue=1") == [told.format(2)]


def test_a_jump_of_the_clock_is_told_with_its_direction_for_ten_minutes(looks: Looks) -> None:
    started = int(str(WELL["machine.started"]))
    told = "the clock of this machine was set {} by {} s"
    for before, way in ((started - 6, "forward"), (started + 6, "back")):
        assert sampled(looks, f"9 boot=a started={before}") == [told.format(way, 6)]
        assert sampled(looks, f"11 boot=a started={before}") == []
    for boot, before in (("a", started - 5), ("a", started + 5), ("before", started - 1_000_000)):
        assert sampled(looks, f"9 boot={boot} started={before}") == []


def judged(looks: Looks, state: str, *problems: str, delivered: str = "yes") -> list[str]:
    """What alerts.awk prints, of a state before: NAME FIRST LAST LOOKS TOLD, in seconds ago."""
    if state:
        name, first, last, seen, told = state.split()
        line = [name, str(NOW - int(first)), str(NOW - int(last)), seen, told, "what", "next"]
        looks.troubles.write_text("\t".join(line) + "\n")
    found = awk(
        "alerts.awk",
        text="".join(f"{name}\tnew\tremedy\n" for name in problems),
        files=[str(looks.troubles), "problems=yes", "-"],
        now=NOW,
        frozen="none",
        delivered=delivered,
    )
    return [line.replace("\t", " ").replace(str(NOW), "now") for line in found]


def test_what_may_be_over_in_a_moment_is_told_after_a_second_look(looks: Looks) -> None:
    assert judged(looks, "", "visitors") == ["state visitors now now 1 0 new remedy"]
    early, late = f"{NOW - 19}", f"{NOW - 20}"
    assert judged(looks, "visitors 19 19 1 0", "visitors") == [
        f"state visitors {early} now 2 0 new remedy"
    ]
    assert judged(looks, "visitors 20 20 1 0", "visitors") == [
        "begin visitors new remedy",
        f"state visitors {late} now 2 now new remedy",
    ]
    assert judged(looks, "visitors 20 20 1 0", "visitors", delivered="no") == [
        "begin visitors new remedy",
        f"state visitors {late} now 2 0 new remedy",
    ]
    # Gone before it was told: as if it had not been.
    assert judged(looks, "visitors 19 19 1 0") == []


def test_what_is_over_is_told_once_it_was_away_for_five_minutes_and_within_a_day(
    looks: Looks,
) -> None:
    assert judged(looks, "errors 1499 299 20 1") == [
        f"state errors {NOW - 1499} {NOW - 299} 20 1 what next"
    ]
    over = "end errors what 20"
    assert judged(looks, "errors 1500 300 20 1") == [over]
    assert judged(looks, "errors 1500 300 20 1", delivered="no") == [
        over,
        f"state errors {NOW - 1500} {NOW - 300} 20 1 what next",
    ]
    assert judged(looks, "errors 87600 86400 20 1") == [over]
    assert judged(looks, "errors 87601 86401 20 1") == []


def test_what_a_wrong_clock_has_put_into_the_future_began_now(looks: Looks) -> None:
    assert judged(looks, "errors -500 -500 1 1") == ["state errors now now 1 1 what next"]
    assert judged(looks, "errors -500 -500 1 1", "errors") == [
        "state errors now now 2 1 new remedy"
    ]


def test_what_was_done_is_kept_for_a_day_where_nobody_could_be_told(looks: Looks) -> None:
    begin = "begin back-db-1 what next"
    kept = f"state back-db-1 {NOW - 86399} {NOW - 86399} 1 0 what next"
    assert judged(looks, "back-db-1 86399 86399 1 0", delivered="no") == [begin, kept]
    assert judged(looks, "back-db-1 86400 86400 1 0", delivered="no") == [begin]
    assert judged(looks, "back-db-1 60 60 1 0") == [begin]


def test_a_restart_is_for_what_serves_and_was_unhealthy_for_three_minutes(tmp_path: Path) -> None:
    for name in ("web-blue", "live-blue", "worker-blue", "proxy"):
        assert plan("db healthy 0", f"{name} unhealthy 179", folder=tmp_path) == []
        assert plan("db healthy 0", f"{name} unhealthy 180", folder=tmp_path) == [f"restart {name}"]
    assert plan("redis unhealthy 900", "db unhealthy 900", folder=tmp_path) == []


def test_tries_count_for_an_hour_and_none_of_the_future(tmp_path: Path) -> None:
    def found(*seconds_ago: int) -> list[str]:
        tries = "".join(f"{NOW - seconds} db\n" for seconds in seconds_ago)
        return plan("db stopped 0", folder=tmp_path, tries=tries)

    assert found(3599, 3000, 2900, 2800, 2700, 2600) == ["give-up db"]
    assert found(3600, 3000, 2900, 2800, 2700, 2600) == ["start db"]
    assert found(-1, -2, -3, -4, -5, -6) == ["start db"]
    assert found(0) == found(14) == []
    assert found(15) == ["start db"]
    assert found(100, 29) == []
    assert found(100, 30) == ["start db"]
