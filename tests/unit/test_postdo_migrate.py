"""Migrating ends done, refused, undone or not undone, and says which, exactly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import CREATE_ITEM, DEVELOPMENT, ITEM, Project, make, make_shop

from postdo.base.advisory_lock import HOLDER, LOCK_KEY
from postdo.django_migrations.history import UNFINISHED

ADD_STOCK = 'migrations.AddField("Item", "stock", models.IntegerField(default=0))'
BROKEN = "migrations.RunSQL('ALTER TABLE shop_item ADD COLUMN name text')"  # it has one already
OFF = {"MAKEMIGRATIONS": "off"}


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    return make_shop(tmp_path, database, environment=DEVELOPMENT)


def recorded(project: Project) -> list[str]:
    rows = project.sql("SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY id")
    return [name for (name,) in rows]


def comment(project: Project) -> str | None:
    (row,) = project.sql("SELECT obj_description('django_migrations'::regclass, 'pg_class')")
    assert row[0] is None or isinstance(row[0], str)
    return row[0]


def test_an_empty_database_gets_all_migrations_and_a_second_run_finds_none(shop: Project) -> None:
    first = shop.run("migrate")
    assert first.code == 0, first.err
    assert "applied shop.0001_initial (" in first.out
    assert recorded(shop) == ["0001_initial"]
    second = shop.run("migrate", "--json")
    assert second.code == 0
    assert second.report["result"]["applied"] == []
    assert "nothing to migrate" in second.err


# Modules that a start does not import if it has nothing to do.
HEAVY = {
    "shop.migrations.0001_initial",
    "shop.models",
    "django.contrib.auth.models",
    "django.db.migrations.executor",
    "django.db.migrations.autodetector",
    "postdo.apply.django_migrate",
    "postdo.django_migrations.model_changes",
    "postdo.commands.superuser",
}


def imported(shop: Project, stamp: str) -> set[str]:
    """The modules that `prepare` has imported at its end."""
    run = "from postdo.__main__ import main; assert main(['prepare']) == 0"
    done = subprocess.run(
        [sys.executable, "-c", f"{run}; import sys; print(*sys.modules)"],
        cwd=shop.root,
        env=shop.variables({"POSTDO_STAMP": stamp}),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_nothing_pending_is_found_without_importing_a_migration_or_a_model(shop: Project) -> None:
    stamp = str(shop.root / "stamp.json")
    assert shop.run("check", "--stamp", stamp).code == 0
    assert HEAVY - {"postdo.commands.superuser"} <= imported(shop, stamp)
    assert HEAVY & imported(shop, stamp) == set()


def test_five_hundred_applied_migrations_cost_no_import(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    shop_migrations = [f"{number:04d}_step" for number in range(2, 502)]
    assert project.run("migrate").code == 0
    for name in shop_migrations:
        # Importing one of them would end the run.
        project.write(f"shop/migrations/{name}.py", "raise SystemExit('imported')")
    values = ", ".join(f"('shop', '{name}', now())" for name in shop_migrations)
    project.sql("INSERT INTO django_migrations (app, name, applied) VALUES " + values)  # noqa: S608
    outcome = project.run("prepare", environment=OFF)
    assert outcome.code == 0, outcome.err
    assert "nothing to migrate (5" in outcome.out


def test_a_new_migration_is_applied_to_a_database_with_rows(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.sql("INSERT INTO shop_item (name) VALUES ('kept')")
    shop.migration("shop", "0002_stock", ADD_STOCK, after="0001_initial")
    outcome = shop.run("migrate", "--json")
    assert outcome.report["result"]["applied"] == ["shop.0002_stock"]
    assert shop.sql("SELECT name, stock FROM shop_item") == [("kept", 0)]


def test_the_first_migration_failing_leaves_the_database_as_before(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.migration("shop", "0002_broken", f"{ADD_STOCK}, {BROKEN}", after="0001_initial")
    outcome = shop.run("migrate")
    assert outcome.code == 4
    assert 'failed and undone: shop.0002_broken: column "name" of relation' in outcome.err
    assert "nothing was applied; the database is unchanged" in outcome.err
    assert "Traceback" not in outcome.err
    assert recorded(shop) == ["0001_initial"]
    with pytest.raises(Exception, match="stock"):
        shop.sql("SELECT stock FROM shop_item")
    assert comment(shop) is None


def test_a_failure_half_way_says_what_stays_and_the_next_start_goes_on(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.migration("shop", "0002_stock", ADD_STOCK, after="0001_initial")
    broken = shop.migration("shop", "0003_broken", BROKEN, after="0002_stock")
    shop.migration("shop", "0004_after", "", after="0003_broken")
    outcome = shop.run("migrate", "--json")
    assert outcome.code == 5
    assert outcome.report["details"] == [
        "stays applied: shop.0002_stock",
        "failed: shop.0003_broken (rolled back)",
        "not started: shop.0004_after",
    ]
    assert recorded(shop) == ["0001_initial", "0002_stock"]
    broken.write_text(broken.read_text().replace(BROKEN, ""))
    again = shop.run("migrate", "--json")
    assert again.report["result"]["applied"] == ["shop.0003_broken", "shop.0004_after"]


def test_a_migration_that_is_not_atomic_is_reported_as_half_done(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.migration(
        "shop", "0002_half", f"{ADD_STOCK}, {BROKEN}", after="0001_initial", header="atomic = False"
    )
    outcome = shop.run("migrate")
    assert outcome.code == 5
    assert "failed: shop.0002_half (not atomic, so part of it may stay)" in outcome.err
    assert "undo by hand what" in outcome.err
    assert shop.sql("SELECT stock FROM shop_item") == []


def test_a_server_that_dies_in_a_migration_is_told_apart(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    kill = "migrations.RunSQL('SELECT pg_terminate_backend(pg_backend_pid())')"
    shop.migration("shop", "0002_killed", f"{ADD_STOCK}, {kill}", after="0001_initial")
    outcome = shop.run("migrate")
    assert outcome.code == 4
    # The server's last words arrive or not, depending on who is quicker.
    assert re.search("failed and undone: shop.0002_killed: .*connection", outcome.err)


def test_a_lock_that_is_lost_half_way_stops_before_the_next_migration(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    kill_holder = HOLDER.replace("SELECT a.pid,", "SELECT pg_terminate_backend(a.pid),") % LOCK_KEY
    operations = f"{ADD_STOCK}, migrations.RunSQL({kill_holder!r})"
    shop.migration("shop", "0002_stock", operations, after="0001_initial")
    shop.migration("shop", "0003_after", "", after="0002_stock")
    outcome = shop.run("migrate")
    assert outcome.code == 5
    assert "postdo lost its lock (the session ended)" in outcome.err
    assert "stays applied: shop.0002_stock" in outcome.err
    assert recorded(shop) == ["0001_initial", "0002_stock"]


HANDLER = """
from django.apps import AppConfig
from django.db.models.signals import post_migrate


def handle(sender, **_):
    from pathlib import Path
    if Path("broken").exists():
        raise RuntimeError("no such service")
    Path("handled").touch()


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        post_migrate.connect(handle, sender=self)
"""


def test_a_failing_post_migrate_handler_is_run_again_by_the_next_start(shop: Project) -> None:
    shop.write("shop/apps.py", HANDLER)
    shop.write("broken", "")
    outcome = shop.run("migrate")
    assert outcome.code == 5
    assert "a post_migrate handler: no such service" in outcome.err
    assert recorded(shop) == ["0001_initial"]
    assert (comment(shop) or "").startswith(UNFINISHED)
    (shop.root / "broken").unlink()
    again = shop.run("migrate")
    assert again.code == 0, again.err
    assert (shop.root / "handled").exists()
    assert comment(shop) is None
    assert "nothing to migrate" in shop.run("migrate").out


def test_a_failing_pre_migrate_handler_on_an_empty_database_is_named(shop: Project) -> None:
    shop.write(
        "shop/apps.py",
        "from django.apps import AppConfig\nfrom django.db.models.signals import pre_migrate\n\n"
        "def fail(**_):\n    raise RuntimeError('the cause')\n\n"
        "class Shop(AppConfig):\n    name = 'shop'\n\n"
        "    def ready(self):\n        pre_migrate.connect(fail, sender=self)\n",
    )
    ended = shop.run("migrate")
    assert ended.code == 4, ended.out + ended.err
    assert "failed and undone: migrate: the cause" in ended.err


def test_a_comment_of_somebody_on_the_table_of_migrations_is_kept(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.sql("COMMENT ON TABLE django_migrations IS 'ours: 100 % ''quoted'''")
    shop.migration("shop", "0002_stock", ADD_STOCK, after="0001_initial")
    assert shop.run("migrate").code == 0
    assert comment(shop) == "ours: 100 % 'quoted'"


def test_a_role_that_does_not_own_the_table_of_migrations_can_still_use_it(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.sql("COMMENT ON TABLE django_migrations IS 'kept'")
    role = "postdo_guest"
    shop.sql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT CREATE ON SCHEMA public TO {role};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )
    try:
        shop.migration(
            "shop", "0002_other", "migrations.RunSQL('CREATE TABLE guest ()')", after="0001_initial"
        )
        host = shop.url.rpartition("@")[2]
        guest = Project(shop.root, f"postgres://{role}:x@{host}", DEVELOPMENT)
        outcome = guest.run("migrate")
        assert outcome.code == 0, outcome.err
        assert comment(shop) == "kept"
    finally:
        shop.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_two_last_migrations_are_refused_before_anything_is_applied(shop: Project) -> None:
    shop.migration("shop", "0002_left", "", after="0001_initial")
    shop.migration("shop", "0002_right", "", after="0001_initial")
    outcome = shop.run("migrate")
    assert outcome.code == 3
    assert "makemigrations --merge" in outcome.err
    assert shop.sql("SELECT to_regclass('django_migrations')") == [(None,)]


def test_a_migration_recorded_before_its_dependency_is_refused(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.migration("shop", "0002_missing", "", after="0001_initial")
    shop.migration("shop", "0003_recorded", "", after="0002_missing")
    shop.sql(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0003_recorded', now())"
    )
    outcome = shop.run("migrate")
    assert outcome.code == 3
    assert "InconsistentMigrationHistory" in outcome.err


def test_a_squashed_migration_of_applied_ones_is_recorded_and_then_nothing_is_pending(
    shop: Project,
) -> None:
    shop.migration("shop", "0002_stock", ADD_STOCK, after="0001_initial")
    assert shop.run("migrate").code == 0
    stock = '("stock", models.IntegerField(default=0))]'
    shop.migration(
        "shop",
        "0001_squashed_0002_stock",
        CREATE_ITEM.replace("])", f"{stock})"),
        header="replaces = [('shop', '0001_initial'), ('shop', '0002_stock')]",
    )
    outcome = shop.run("migrate", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.report["result"]["applied"] == []
    assert "0001_squashed_0002_stock" in recorded(shop)
    assert "nothing to migrate" in shop.run("migrate").out


def test_a_project_with_its_own_migrate_command_gets_it_each_time(shop: Project) -> None:
    shop.write("shop/management/__init__.py", "")
    shop.write("shop/management/commands/__init__.py", "")
    shop.write(
        "shop/management/commands/migrate.py",
        "from django.core.management.commands import migrate\n\n\n"
        "class Command(migrate.Command):\n"
        "    def handle(self, *args, **options):\n"
        "        super().handle(*args, **options)\n"
        "        open('ran', 'a').write('x')\n",
    )
    assert shop.run("migrate").code == 0
    assert shop.run("migrate").code == 0
    assert (shop.root / "ran").read_text() == "xx"


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ("{'shop': None}", []),
        ("{'shop': 'elsewhere.shop_migrations'}", ["0001_elsewhere"]),
    ],
)
def test_migrations_that_the_settings_move_or_switch_off_are_found_where_they_are(
    tmp_path: Path, database: str, modules: str, expected: list[str]
) -> None:
    project = make(tmp_path, database, apps=("shop",), settings=f"MIGRATION_MODULES = {modules}")
    project.migration("shop", "0001_ignored", "")
    project.write("elsewhere/__init__.py", "")
    project.write("elsewhere/shop_migrations/__init__.py", "")
    moved = project.migration("shop", "0001_elsewhere", "")
    moved.rename(tmp_path / "elsewhere/shop_migrations/0001_elsewhere.py")
    assert project.run("migrate").code == 0
    assert recorded(project) == expected
    assert "nothing to migrate" in project.run("migrate").out


def test_what_is_no_migration_is_not_pending(tmp_path: Path, database: str) -> None:
    project = make_shop(tmp_path, database)
    for name in ("_helper", "~backup"):
        project.write(f"shop/migrations/{name}.py", "raise SystemExit")
    project.write("shop/migrations/package/__init__.py", "raise SystemExit")
    (tmp_path / "bare/migrations").mkdir(parents=True)  # no __init__.py: no migrations to Django
    project.write("bare/__init__.py", "")
    project.write("bare/migrations/0001_ignored.py", "raise SystemExit")
    project.write("single/__init__.py", "")
    project.write("single/migrations.py", "")
    settings = (tmp_path / "config/settings.py").read_text()
    project.write("config/settings.py", f"{settings}\nINSTALLED_APPS += ['bare', 'single']\n")
    first = project.run("migrate")
    assert first.code == 0, first.err
    assert "nothing to migrate" in project.run("migrate").out


def test_a_package_of_migrations_that_needs_models_is_left_to_django(shop: Project) -> None:
    shop.write("shop/migrations/__init__.py", "from shop.models import Item")
    for expected in ("applied shop.0001_initial", "nothing to migrate"):
        outcome = shop.run("migrate")
        assert outcome.code == 0, outcome.err
        assert expected in outcome.out


def test_further_databases_are_named_and_left_alone(tmp_path: Path, database: str) -> None:
    settings = "DATABASES['reports'] = dict(DATABASES['default'], NAME='not_there')"
    outcome = make_shop(tmp_path, database, settings=settings).run("migrate")
    assert outcome.code == 0, outcome.err
    assert "postdo migrates only the database 'default', not reports" in outcome.out


def test_a_database_that_may_not_be_read_is_said_in_one_line(shop: Project) -> None:
    assert shop.run("migrate").code == 0
    shop.sql("CREATE ROLE postdo_blind LOGIN PASSWORD 'x'")
    try:
        host = shop.url.rpartition("@")[2]
        outcome = Project(shop.root, f"postgres://postdo_blind:x@{host}").run("migrate")
        assert outcome.code == 4
        assert "database error: permission denied for table django_migrations" in outcome.err
        assert "Traceback" not in outcome.err
    finally:
        shop.sql("DROP ROLE postdo_blind")


def test_models_may_match_whatever_is_pending(shop: Project) -> None:
    """`migrate` alone does not compare the models: that is the step before it."""
    shop.write("shop/models.py", ITEM + "    price = models.IntegerField(default=0)\n")
    assert shop.run("migrate").code == 0
