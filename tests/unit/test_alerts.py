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
