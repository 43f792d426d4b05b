"""The archive for points in time, and what is recovered from it, on real servers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from archived_server import Site, eventually
from hazards.search_servers import programs_of

from embedded_postgres.temporary import place

# The system's or the one of a wheel. (That of 18 has a pg_verifybackup that crashes.)
INCREMENTAL, WHOLE = 17, 15
SECONDS = "SELECT extract(epoch FROM clock_timestamp())::bigint"
POINT = """
SELECT pg_create_restore_point('before'), system_identifier FROM pg_control_system()
"""


@contextmanager
def site(folder: Path, *, major: int = INCREMENTAL, settings: str = "") -> Iterator[Site]:
    """A server that is archived, in memory if there is room."""
    own = place() / f"pitr-{folder.name}-{time.monotonic_ns()}"
    own.mkdir()
    one = Site(own, major, programs_of(major))
    try:
        one.make(settings)
        yield one
    except BaseException:
        for log in sorted(own.glob("*.log")):
            print(f"== {log.name}\n{log.read_text()[-3000:]}")
        raise
    finally:
        one.remove()
        shutil.rmtree(own)


@pytest.mark.parametrize("major", [INCREMENTAL, WHOLE])
def test_the_database_goes_back_to_a_point_a_time_and_its_end(tmp_path: Path, major: int) -> None:
    with site(tmp_path, major=major) as shop:
        shop.begin()
        shop.receives()
        shop.insert(1, 100)
        assert "verified=yes" in (shop.bases()[0] / "about").read_text()
        assert shop.base()["kind"] == ("incremental" if major == INCREMENTAL else "whole")
        shop.insert(101, 200)
        place_and_system = shop.sql(POINT, "postgres").split("|")
        shop.insert(201, 300)
        now = int(shop.sql(SECONDS)) + 1
        eventually(lambda: int(shop.sql(SECONDS)) > now, "the second to end")
        shop.sql("DELETE FROM item")
        shop.sql("CREATE ROLE reader")
        shop.sql("GRANT SELECT ON item TO reader")
        shop.caught_up()

        with shop.recovered("lsn", *place_and_system) as there:
            shop.hand_over(there, "at_point")
        with shop.recovered("time", str(now)) as there:
            shop.hand_over(there, "at_time")
        chain = shop.plan("latest", "another")["chain"].split()
        shop.end()
        # A role that the live server lacks: what it may do in the database is kept all the same.
        shop.sql("REVOKE SELECT ON item FROM reader; DROP ROLE reader")
        with shop.recovered("latest", "another") as there:
            shop.hand_over(there, "at_end")

        assert shop.numbers("at_point") == list(range(1, 201))
        assert shop.numbers("at_time") == list(range(1, 301))
        assert shop.numbers("at_end") == []
        assert shop.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'reader'") == "f"
        assert len(chain) == (2 if major == INCREMENTAL else 1)


def test_a_time_that_is_not_covered_is_refused_with_what_is(tmp_path: Path) -> None:
    with site(tmp_path) as shop:
        refused = shop.plan("time", "1796000000", ok=False)
        assert refused["what"] == "there is no archive from which to recover"
        shop.begin()
        shop.receives()
        now = int(shop.sql(SECONDS))

        for seconds in (now - 3600, now + 3600):
            refused = shop.plan("time", str(seconds), ok=False)
            assert "does not cover that: it covers 20" in refused["what"]
            assert "restore a backup" in refused["next"]


def test_nothing_happened_after_the_time_that_is_asked_for(tmp_path: Path) -> None:
    """PostgreSQL itself calls that a target that it did not reach."""
    with site(tmp_path) as shop:
        shop.begin()
        shop.receives()
        shop.insert(1, 10)
        shop.caught_up()
        now = int(shop.sql(SECONDS)) + 1
        alive = shop.sequences()[-1] / "alive"
        eventually(lambda: int(alive.read_text() or 0) >= now, "the archive to say that it lives")

        with shop.recovered("time", str(now)) as there:
            shop.hand_over(there, "at_time")

        assert shop.numbers("at_time") == list(range(1, 11))


def test_the_archive_goes_on_after_a_restart_which_it_does_not_hold_up(tmp_path: Path) -> None:
    with site(tmp_path) as shop:
        shop.begin()
        shop.receives()
        shop.insert(1, 10)
        began = time.monotonic()
        shop.stop()
        stopped_in = time.monotonic() - began
        eventually(lambda: "state=waiting" in shop.state(), "the archive to wait")
        shop.start()
        shop.insert(11, 20)
        shop.receives()
        shop.caught_up()

        assert stopped_in < 20, "wal_sender_timeout, after which PostgreSQL gives up on it"
        assert len(shop.sequences()) == 1
        with shop.recovered("latest", "another") as there:
            shop.hand_over(there, "at_end")
        assert shop.numbers("at_end") == list(range(1, 21))


def test_after_a_gap_a_new_base_backup_is_taken(tmp_path: Path) -> None:
    """PostgreSQL keeps no more for a receiver that is away than its disk bears."""
    with site(tmp_path, settings="max_slot_wal_keep_size = 2MB\nmax_wal_size = 4MB\n") as shop:
        shop.begin()
        shop.receives()
        shop.insert(1, 10)
        shop.end()
        for _ in range(12):
            shop.sql(
                "INSERT INTO item SELECT 11 WHERE false; SELECT pg_switch_wal(), txid_current()"
            )
        shop.sql("CHECKPOINT")
        slot = "SELECT wal_status FROM pg_replication_slots"
        assert shop.sql(slot) == "lost"

        shop.begin()
        eventually(lambda: len(shop.sequences()) == 2, "a new sequence")
        shop.receives()

        assert "why=lost-wal" in (shop.sequences()[-1] / "about").read_text()
        assert shop.sql(slot) == "reserved"
        shop.insert(11, 20)
        shop.caught_up()
        with shop.recovered("latest", shop.plan("latest", "another")["sequence"]) as there:
            shop.hand_over(there, "at_end")
        assert shop.numbers("at_end") == list(range(1, 21))


def test_a_lost_disk_is_recovered_and_the_new_server_has_an_archive_of_its_own(
    tmp_path: Path,
) -> None:
    with site(tmp_path) as shop:
        shop.begin()
        shop.receives()
        shop.insert(1, 50)
        system = shop.sql("SELECT system_identifier FROM pg_control_system()")
        written = [*range(1, 51)]
        for number in range(51, 71):  # acknowledged one by one, up to the end
            shop.insert(number, number)
            written.append(number)
        shop.kill()
        shutil.rmtree(shop.data)

        shop.make()
        eventually(lambda: len(shop.sequences()) == 2, "a sequence of the new server")
        shop.receives()
        new = shop.sql("SELECT system_identifier FROM pg_control_system()")
        assert new != system
        with shop.recovered("latest", new) as there:
            shop.hand_over(there, "of_the_lost")

        found = shop.numbers("of_the_lost")
        assert found == written[: len(found)]
        assert len(written) - len(found) <= 2, "what was acknowledged in the last milliseconds"


def test_what_no_covered_time_needs_is_removed(tmp_path: Path) -> None:
    with site(tmp_path, major=WHOLE) as shop:
        shop.begin()
        shop.receives()
        for number in range(2):
            shop.sql(f"INSERT INTO item VALUES ({number}); SELECT pg_switch_wal()")  # noqa: S608
            shop.base()
        (first, second, third) = shop.bases()
        oldest = min(path.name for path in (shop.sequences()[0] / "wal").iterdir())
        # The second one is eight days old, so the first one is needed by no time of the last seven.
        for base, days in ((first, 9), (second, 8)):
            about = (base / "about").read_text()
            old = int(time.time()) - days * 86400
            (base / "about").write_text(f"{about.split('ended=')[0]}ended={old}\n")

        shop.base()

        assert [base.name for base in shop.bases()][:2] == [second.name, third.name]
        left = sorted(path.name for path in (shop.sequences()[0] / "wal").iterdir())
        start = (second / "about").read_text().split("start=")[1].split()[0]
        assert left[0] == start > oldest


def test_a_file_that_is_missing_or_damaged_is_found(tmp_path: Path) -> None:
    with site(tmp_path) as shop:
        shop.begin()
        shop.receives()
        for number in range(4):
            shop.sql(f"INSERT INTO item VALUES ({number}); SELECT pg_switch_wal()")  # noqa: S608
        shop.caught_up()
        shop.end()
        files = sorted((shop.sequences()[0] / "wal").glob("0*"))
        victim = files[-3]
        whole = victim.read_bytes()

        victim.write_bytes(whole[:200] + bytes(len(whole) - 200))
        with shop.recovered("latest", "another") as there:
            done = shop.try_hand_over(there)
        assert "what=the archive is damaged: PostgreSQL reads it up to" in done

        victim.unlink()
        refused = shop.plan("latest", "another", ok=False)
        assert "a file of the archive is missing: " in refused["what"]


def test_a_full_disk_ends_the_archive_and_not_the_site(tmp_path: Path) -> None:
    slots = "SELECT count(*) FROM pg_replication_slots"
    with site(tmp_path) as shop:
        shop.begin()
        shop.receives()
        shop.end()
        assert shop.sql(slots) == "1"

        shop.begin(POSTDO_LEAST_FREE_MB="999999999")
        eventually(lambda: "state=full" in shop.state(), "the archive to see it")

        eventually(lambda: shop.sql(slots) == "0", "PostgreSQL to keep nothing for it")
        assert "next=free some disk space" in shop.state()
        shop.insert(1, 10)
        shop.end()

        # With room again, and nothing removed meanwhile, it goes on where it was.
        shop.begin()
        shop.receives()
        assert len(shop.sequences()) == 1


def test_with_pitr_sync_nothing_acknowledged_is_lost_and_no_commit_waits_for_ever(
    tmp_path: Path,
) -> None:
    waits = "SELECT current_setting('synchronous_standby_names')"
    with site(tmp_path) as shop:
        shop.begin(PITR_SYNC="on")
        shop.receives()
        (shop.data / "postdo-archive-sync").touch()
        shop.health()
        eventually(lambda: shop.sql(waits) == "postdo_archive", "commits to wait for the archive")

        # Without the archive a commit waits, until the health check has seen that twice.
        shop.end()
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(shop.insert, 1, 10)
            shop.health()
            assert not waiting.done()
            shop.health()
            waiting.result(30)
        assert shop.sql(waits) == ""

        shop.begin(PITR_SYNC="on")
        shop.receives()
        shop.health()
        eventually(lambda: shop.sql(waits) == "postdo_archive", "commits to wait again")
        for number in range(11, 21):
            shop.insert(number, number)
        shop.kill()
        shutil.rmtree(shop.data)
        shop.make()
        with shop.recovered("latest", "another") as there:
            shop.hand_over(there, "of_the_lost")
        assert shop.numbers("of_the_lost") == list(range(1, 21))


def test_switched_off_postgresql_keeps_nothing_for_it_and_lets_it_in_no_more(
    tmp_path: Path,
) -> None:
    with site(tmp_path) as shop:
        shop.begin()
        shop.receives()

        shop.roles("archive-off", "site")

        assert shop.sql("SELECT count(*) FROM pg_replication_slots") == "0"
        role = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'postdo_archive'"
        assert shop.sql(role) == "f"
        eventually(lambda: "state=waiting" in shop.state(), "the archive to notice")
        shop.roles("archive", "site", "off", given="secret")
        shop.receives()
        assert len(shop.sequences()) == 1, "nothing was written meanwhile that it lacks"
        hba = (shop.data / "pg_hba.conf").read_text()
        assert "host replication postdo_archive all scram-sha-256\n" in hba
