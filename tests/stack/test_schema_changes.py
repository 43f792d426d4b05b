"""Changes of the schema, released by `sh run.sh -0`: done, refused or undone, and never else."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from .clone import Clone
from .engine import Container, try_docker
from .runs import PATIENCE, Run
from .visitor import answering
from .waiting import eventually

# Fields have defaults in the database: the serving release can insert, and nothing is asked.
FIELDS = {
    "name": "models.CharField(max_length=50)",
    "note": "models.CharField(max_length=50, db_default='')",
    "extra": "models.CharField(max_length=9, db_default='full')",
}
ROWS = "INSERT INTO shop_thing (name, note) SELECT 'n' || i, 'same' FROM generate_series(1, 20) i"
UNIQUE = "models.CharField(max_length=50, db_default='', unique=True)"
NOWHERE_ELSE = """migrations.RunSQL(
            "DO $$ BEGIN IF current_database() = 'postdo' THEN "
            "RAISE EXCEPTION 'only in production'; END IF; END $$"
        )"""
SLOW = 'migrations.RunSQL("SELECT pg_sleep(120)")'
REFUSED, UNDONE = 3, 4
SWITCH_SECONDS = ".postdo/switch-seconds"


def change(clone: Clone, fields: dict[str, str], *operations: str) -> str:
    """Write the model with these fields, and the next migration. Returns the migration's name."""
    lines = "".join(f"    {name} = {field}\n" for name, field in fields.items())
    text = f"from django.db import models\n\n\nclass Thing(models.Model):\n{lines}"
    clone.write("web/shop/models.py", text)
    folder = clone.root / "web/shop/migrations"
    before = sorted(path.stem for path in folder.glob("0*.py"))
    name = f"{len(before) + 1:04}_change"
    depends = f'("shop", "{before[-1]}")' if before else ""
    clone.write(
        f"web/shop/migrations/{name}.py",
        "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = [{depends}]\n    operations = [{', '.join(operations)}]\n",
    )
    return f"shop.{name}"


def add(name: str, field: str) -> str:
    """The operation that adds a field."""
    return f'migrations.AddField("thing", "{name}", {field})'


def keep(clone: Clone) -> None:
    """Commit what stands there: production has it now."""
    clone.git("add", "web")
    clone.git("commit", "--quiet", "--message", "A change")


@pytest.fixture
def site(own: Clone) -> Iterator[Clone]:
    """Production with an application `shop` and twenty rows in it; its files are put back."""
    if not (own.root / "web/shop").exists():
        add_shop(own)
    if not own.visitor("HTTP_PORT").is_up():
        own.run("-0")
    if own.query("prod", "SELECT count(*) FROM shop_thing") == "0":
        own.query("prod", ROWS)
    with own.restored():
        yield own
    assert_nothing_is_left(own)


def add_shop(clone: Clone) -> None:
    clone.write("web/shop/__init__.py", "")
    clone.write("web/shop/migrations/__init__.py", "")
    settings = "web/config/settings/base.py"
    clone.replace(settings, '    "core",\n', '    "core",\n    "shop",\n')
    columns = ", ".join(f'("{name}", {field})' for name, field in FIELDS.items())
    key = "auto_created=True, primary_key=True, serialize=False, verbose_name='ID'"
    key = f'("id", models.BigAutoField({key}))'
    change(clone, FIELDS, f'migrations.CreateModel("Thing", [{key}, {columns}])')
    keep(clone)


def assert_nothing_is_left(clone: Clone) -> None:
    """No copy of the data, no container of a single command, no lock."""
    if "db" in clone.runs_in("prod"):
        names = clone.query("prod", "SELECT datname FROM pg_database WHERE NOT datistemplate")
        assert set(names.split()) == {"postgres", "postdo"}
    assert {name for name in clone.containers("prod") if "one-off" in name} == set()
    assert not (clone.root / ".postdo/lock-prod").exists()


def content(clone: Clone) -> str:
    """A checksum of schema and rows, without what our own journal remembers of a refusal."""
    dump = "pg_dump -U postdo -N postdo_journal postdo | grep -v '^.restrict\\|^.unrestrict'"
    return clone.containers("prod")["db"].run("sh", "-c", f"{dump} | md5sum")


@contextmanager
def untouched(clone: Clone) -> Iterator[None]:
    """Inside, the version that served goes on, and the database stays as it is."""
    live, was = clone.live(), content(clone)
    started = clone.containers("prod")[live].started_at
    with visited(clone):
        yield
    assert clone.live() == live
    assert clone.containers("prod")[live].started_at == started
    assert content(clone) == was


def visited(clone: Clone) -> AbstractContextManager[None]:
    """Inside, a visitor asks for a page again and again, and always gets it."""
    return answering(clone.visitor("HTTP_PORT"), "/admin/login/")


def with_fields(fields: dict[str, str], clone: Clone) -> dict[str, str]:
    """The model's fields as committed, and these."""
    text = (clone.root / "web/shop/models.py").read_text()
    there = dict(re.findall(r"^    (\w+) = (.*)$", text, re.MULTILINE))
    return there | fields


def backups(clone: Clone) -> set[str]:
    return {path.name for path in (clone.root / "backups").iterdir()}


# --- Releases ------------------------------------------------------------------------------------


def test_a_compatible_change_is_done_while_the_site_answers(site: Clone) -> None:
    before = backups(site)
    field = "models.IntegerField(db_default=0)"
    name = change(site, with_fields({"amount": field}, site), add("amount", field))

    with visited(site):
        done = site.run("-0")

    assert "go: 1 migration, no downtime" in done.out
    assert "migrated: 1 applied" in done.out
    assert site.query("prod", "SELECT count(amount) FROM shop_thing") == "20"
    assert name.split(".")[1] in site.query("prod", "SELECT name FROM django_migrations")
    (backup,) = backups(site) - before
    folder, whole = site.root / "backups" / backup, site.root / "backups"
    assert folder.stat().st_mode & 0o777 == whole.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == whole.stat().st_uid
    assert int((site.root / SWITCH_SECONDS).read_text()) > 0, "what the next plan says of errors"
    keep(site)


def test_a_change_that_loses_data_needs_the_approval_of_that_very_plan(site: Clone) -> None:
    fields = with_fields({}, site)
    del fields["extra"]
    change(site, fields, 'migrations.RemoveField("thing", "extra")')

    with untouched(site):
        refused = site.run("-0", ok=False)
        wrong = site.run("-0", "--approve", "0123456789ab", ok=False)

    assert refused.status == wrong.status == REFUSED
    refused.refused("would delete column shop_thing.extra (20 values)", "sh run.sh -0 --approve ")
    approve = re.search(r"next: to approve this plan: sh run.sh (-0 --approve \w+)", refused.err)
    assert approve, refused
    assert "ON_LOSS" in refused.err
    assert "ON_INCOMPATIBLE" in refused.err
    wrong.refused("the approval 0123456789ab is for another plan", approve[1])
    approved = site.run(*approve[1].split())
    assert "approved: " in approved.out
    assert "reusing the rehearsal" in approved.out
    assert site.query("prod", COLUMNS).split().count("extra") == 0
    keep(site)
    assert restored(site, "SELECT count(extra) FROM shop_thing") == "20"


def restored(clone: Clone, query: str) -> str:
    """The answer of the newest backup of a release, restored as the README says, and removed."""
    newest = max(name for name in backups(clone) if name.startswith("postdo-before-migrate-"))
    clone.run("-0", "restore", f"backups/{newest}")
    answer = clone.run("-0", "psql", "-d", "restored", "-tAc", query).out.strip()
    clone.run("-0", "psql", "-c", "DROP DATABASE restored")
    return answer


COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = 'shop_thing'"


def test_a_change_that_the_data_does_not_fit_is_refused_with_rows(site: Clone) -> None:
    altered = f'migrations.AlterField("thing", "note", {UNIQUE})'
    name = change(site, with_fields({"note": UNIQUE}, site), altered)

    with untouched(site):
        refused = site.run("-0", ok=False)

    assert refused.status == REFUSED
    refused.refused("preparing the database was refused: ", "")
    assert "The previous version is still serving." in refused.err
    assert name in refused.err
    assert "same" in refused.err, "an example of the rows"


def test_a_change_that_fails_in_production_alone_is_undone(site: Clone) -> None:
    field = "models.IntegerField(db_default=0)"
    change(site, with_fields({"half": field}, site), add("half", field), NOWHERE_ELSE)

    with untouched(site):
        undone = site.run("-0", ok=False)

    assert undone.status == UNDONE
    undone.refused("was undone: ", "")
    assert "The previous version is still serving." in undone.err
    assert "only in production" in undone.err


def test_while_stopped_manage_applies_nothing_refused_and_a_release_asks_nothing(
    site: Clone,
) -> None:
    fields = with_fields({}, site)
    del fields["note"]
    name = change(site, fields, 'migrations.RemoveField("thing", "note")').split(".")[1]
    assert site.run("-0", ok=False).status == REFUSED
    site.run("-0", "stop")

    refused = site.run("-0", "manage", "migrate", ok=False)
    listed = site.run("-0", "manage", "showmigrations", "shop")
    forced = site.run("-0", "manage", "--yes", "migrate", "--noinput")

    refused.refused("manage migrate would change production's database", "sh run.sh plan")
    assert "0001_change" in listed.out
    assert name not in listed.out, "the image is the one that served, not the refused one"
    assert "No migrations to apply" in forced.out
    assert site.runs_in("prod") == set(), "the database is stopped again"
    assert site.run("-0", "psql", "-tAc", "SELECT count(note) FROM shop_thing").out.strip() == "20"

    site.git("checkout", "--quiet", "--", ".")
    site.git("clean", "--quiet", "--force", "-d")
    field = "models.CharField(max_length=5, default='')"
    change(site, with_fields({"needed": field}, site), add("needed", field))

    done = site.run("-0")

    assert "go: 1 migration" in done.out
    assert site.visitor("HTTP_PORT").is_up()
    keep(site)


# --- Looking, with nothing changed ---------------------------------------------------------------


def test_a_plan_is_for_people_for_programs_and_to_be_sent_and_says_what_avoids_it_and_its_cost(
    site: Clone,
) -> None:
    site.write(SWITCH_SECONDS, "40\n")  # as a release leaves it
    field = "models.IntegerField(default=0)"
    name = change(site, with_fields({"must": field}, site), add("must", field))
    kept = backups(site)

    with untouched(site):
        refused = site.run("-0", ok=False)
        said = site.run("plan", ok=False)
        told = site.run("plan", "--json", ok=False)
        site.run("plan", "--html", "plan.html", ok=False)

    assert refused.status == REFUSED
    refused.refused(
        "would fail on the new schema until the switch, for about 40 s", "sh run.sh -0 --approve "
    )
    (remedy,) = [line for line in refused.err.splitlines() if line.startswith("  next: ")]
    assert remedy.index("a db_default (such as") < remedy.index("accept errors (HTTP 500) until")
    assert "a db_default (such as" in " ".join(said.out.partition("Pending: ")[0].split())
    plan = json.loads(told.out)
    assert plan["result"]["verdict"] == "ask"
    assert plan["result"]["pending"][0]["name"] == name
    assert said.status == told.status == plan["exit"] == REFUSED
    assert plan["result"]["checksum"] in said.out, "each look finds the same plan"
    page = (site.root / "plan.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert plan["result"]["checksum"] in page
    assert backups(site) == kept, "a look takes no backup, and no other one's place"


def test_drift_made_by_hand_is_found_and_a_wrong_record_is_corrected(site: Clone) -> None:
    field = "models.IntegerField(db_default=0)"
    name = change(site, with_fields({"faked": field}, site), add("faked", field))
    fake = "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '{}', now())"
    site.query("prod", fake.format(name.split(".")[1]))
    site.run("plan", ok=False)  # builds the image that knows this migration

    faked = site.run("drift", ok=False)
    site.run("drift", "--unrecord", name)
    site.query("prod", "ALTER TABLE shop_thing ADD by_hand integer")
    by_hand = site.run("drift", ok=False)
    site.query("prod", "ALTER TABLE shop_thing DROP by_hand")
    none = site.run("drift")

    assert faked.status == by_hand.status == REFUSED
    assert f"sh run.sh drift --unrecord {name}" in faked.err
    assert '    ALTER TABLE "public"."shop_thing" DROP COLUMN "by_hand";' in by_hand.out
    assert "the schema is exactly what the migrations produce." in none.out


def test_the_text_of_a_migration_that_was_applied_is_printed_alone(site: Clone) -> None:
    shown = site.run("sources", "--show", "shop.0001_change")

    assert shown.out == (site.root / "web/shop/migrations/0001_change.py").read_text()


def test_an_interrupted_look_touches_nothing_and_takes_its_copy_with_it(site: Clone) -> None:
    change(site, with_fields({}, site), SLOW)
    run = site.start("rehearse")
    running = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'"
    eventually(lambda: site.query("prod", running) != "0", "the slow migration", 120)

    with untouched(site):
        ended = run.stop(signal.SIGINT)

    assert ended.status == 128 + signal.SIGINT, ended
    assert_nothing_is_left(site)


def test_an_index_is_built_while_the_table_is_written_if_that_is_asked_for(site: Clone) -> None:
    text = "CREATE INDEX CONCURRENTLY by_name ON shop_thing (name)"
    operation = f'migrations.RunSQL("{text}", "DROP INDEX by_name")'
    name = change(site, with_fields({}, site), operation).removeprefix("shop.")
    file = f"web/shop/migrations/{name}.py"
    site.replace(file, "    operations", "    atomic = False\n    operations")

    site.run("-0", "--concurrently")

    how = "SELECT mode || ' ' || outcome FROM postdo_journal.run ORDER BY id DESC LIMIT 1"
    assert site.query("prod", how) == "concurrent done"
    keep(site)


# --- A big database: rehearsed on a base backup, in a container of which nothing is left ----------


@pytest.fixture
def big(site: Clone) -> Iterator[Clone]:
    """The same, for which any database is a big one."""
    site.set_in_env(REHEARSE_DUMP_MB="1")
    yield site
    assert_no_copy_is_left(site)


def assert_no_copy_is_left(clone: Clone) -> None:
    assert "copy" not in clone.containers("prod")


def volume_of(copy: Container) -> str:
    """The volume in which the copy has its data."""
    (volume,) = (one["Name"] for one in copy.facts()["Mounts"] if one["Type"] == "volume")
    return str(volume)


def is_gone(volume: str) -> bool:
    return try_docker("volume", "inspect", volume).returncode != 0


def at_work(clone: Clone) -> tuple[Run, str]:
    """A rehearsal of something slow, and the volume that holds its copy."""
    run = clone.start("rehearse")
    running = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'"
    there = ("psql", "-h", "127.0.0.1", "-p", "5433", "-U", "postdo", "-qAtc", running)

    def copies() -> list[Container]:
        found = [one for name, one in clone.containers("prod").items() if name == "copy"]
        return [one for one in found if one.run(*there).strip() != "0"]

    (copy,) = eventually(copies, "the slow migration", PATIENCE)
    return run, volume_of(copy)


def test_a_release_is_rehearsed_on_a_base_backup_and_done(big: Clone) -> None:
    before = backups(big)
    field = "models.IntegerField(db_default=0)"
    change(big, with_fields({"large": field}, big), add("large", field))

    with visited(big):
        done = big.run("-0")

    assert_no_copy_is_left(big)
    assert "MB: it is rehearsed on a base backup" in done.out
    assert "migrated: 1 applied" in done.out
    assert big.query("prod", "SELECT count(large) FROM shop_thing") == "20"
    # No archive runs here, so what the rehearsal does not keep is kept by a set.
    (kept,) = backups(big) - before
    manifest = json.loads((big.root / "backups" / kept / "manifest.json").read_text())
    assert manifest["why"].startswith("before-release-")
    keep(big)


def test_what_the_data_does_not_fit_is_found_on_the_base_backup_and_refused(big: Clone) -> None:
    altered = f'migrations.AlterField("thing", "note", {UNIQUE})'
    change(big, with_fields({"note": UNIQUE}, big), altered)

    with untouched(big):
        refused = big.run("-0", ok=False)

    assert refused.status == REFUSED
    refused.refused("preparing the database was refused: ", "")
    assert "The previous version is still serving." in refused.err
    assert "(note)=(same): 20 rows" in refused.err


def test_ctrl_c_removes_it_and_what_a_killed_run_has_left_the_next_one_removes(
    big: Clone,
) -> None:
    change(big, with_fields({}, big), SLOW)
    with untouched(big):
        run, volume = at_work(big)
        ended = run.stop(signal.SIGINT)
        assert ended.status == 128 + signal.SIGINT, ended
        assert_no_copy_is_left(big)
        assert is_gone(volume)

        run, volume = at_work(big)
        run.stop(signal.SIGKILL)
        assert not is_gone(volume), "nobody was there to remove it"
        found = big.run("sources")

    assert "Remove the copy of the data that an earlier run left behind" in found.text
    assert is_gone(volume)
    eventually(
        lambda: not any("one-off" in name for name in big.containers("prod")),
        "postdo to end, which has lost its copy",
    )


# --- And last, for it leaves nothing running ------------------------------------------------------


def test_a_stopped_database_is_started_for_a_look_and_stopped_again(site: Clone) -> None:
    site.run("-0", "stop")

    plan = site.run("plan")
    drift = site.run("drift")

    assert "nothing to do: all migrations are applied" in plan.out
    assert "the schema is exactly what the migrations produce." in drift.out
    assert site.runs_in("prod") == set()
