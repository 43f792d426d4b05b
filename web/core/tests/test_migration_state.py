"""Pending migrations, judged as Django judges them."""

import sys
import tempfile
from importlib import invalidate_caches
from itertools import combinations
from pathlib import Path
from textwrap import dedent

from django.core.management import call_command
from django.db import connection
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.test import TestCase, override_settings

from core import migration_state

MIGRATION = """
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = {dependencies!r}
    replaces = {replaces!r}
    operations = []
"""


class RealMigrationsTests(TestCase):
    """Migrations in files, of the application `core`, which has none of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.package = Path(folder.name) / f"migrations_{id(self)}"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        sys.path.insert(0, folder.name)
        self.addCleanup(sys.path.remove, folder.name)
        self.addCleanup(migration_state._read_disk.cache_clear)
        override = override_settings(MIGRATION_MODULES={"core": self.package.name})
        override.enable()
        self.addCleanup(override.disable)

    def write(self, name: str, after: str = "", replaces: tuple[str, ...] = ()) -> None:
        """Write the migration `name`, which depends on `after`."""
        content = MIGRATION.format(
            dependencies=[("core", after)] if after else [],
            replaces=[("core", name) for name in replaces],
        )
        (self.package / f"{name}.py").write_text(dedent(content), encoding="utf-8")
        invalidate_caches()
        migration_state._read_disk.cache_clear()

    def test_readyz_is_503_until_the_new_migration_is_applied(self) -> None:
        self.write("0001_first")
        call_command("migrate", "core", verbosity=0)
        self.assertEqual(self.client.get("/readyz").status_code, 200)

        self.write("0002_second", after="0001_first")
        with self.assertLogs("core.middleware", "WARNING") as logs:
            response = self.client.get("/readyz")
        self.assertEqual(response.status_code, 503)
        self.assertEqual(
            response.json(),
            {
                "status": "unavailable",
                "reason": "migrations",
                "detail": "1 migration is not applied.",
            },
        )
        self.assertIn("core.0002_second", logs.output[0])
        self.assert_home_says_so()

        call_command("migrate", "core", verbosity=0)
        with self.assertLogs("core.middleware", "INFO") as logs:
            self.assertEqual(self.client.get("/readyz").status_code, 200)
        self.assertIn("Ready again", logs.output[0])

    def assert_home_says_so(self) -> None:
        """Assert that the home page knows of 0002_second, and to whom it says the name."""
        page = self.client.get("/")
        self.assertContains(page, "being updated")
        self.assertNotContains(page, "0002_second")
        with override_settings(DEBUG=True):
            page = self.client.get("/")
        self.assertContains(page, "1 pending")
        self.assertContains(page, "core.0002_second")

    def test_trouble_is_logged_once_and_not_at_every_question(self) -> None:
        self.write("0001_first")
        with self.assertLogs("core.middleware", "WARNING"):
            self.client.get("/readyz")
        with self.assertNoLogs():
            self.assertEqual(self.client.get("/readyz").status_code, 503)

    def test_a_database_ahead_of_this_release_is_ready(self) -> None:
        MigrationRecorder(connection).record_applied("core", "0099_of_a_later_release")
        self.assertEqual(self.client.get("/readyz").status_code, 200)

    def test_the_disk_is_read_once_per_process(self) -> None:
        self.write("0001_first")
        before = migration_state.on_disk()
        (self.package / "0001_first.py").unlink()
        self.assertIs(migration_state.on_disk(), before)

    def test_in_development_the_disk_is_read_each_time(self) -> None:
        self.write("0001_first")
        with override_settings(DEBUG=True):
            self.assertIn(("core", "0001_first"), migration_state.on_disk())
            (self.package / "0001_first.py").unlink()
            self.assertNotIn(("core", "0001_first"), migration_state.on_disk())

    def test_squashed_migrations_are_judged_as_django_judges_them(self) -> None:
        squash = "0001_squashed_0003"
        parts = ("0001_first", "0002_second", "0003_third")
        self.write(parts[0])
        self.write(parts[1], after=parts[0])
        self.write(parts[2], after=parts[1])
        self.write(squash, replaces=parts)
        self.write("0004_fourth", after=squash)
        names = (*parts, squash, "0004_fourth")
        recorder = MigrationRecorder(connection)
        compared = 0
        for size in range(len(names) + 1):
            for recorded in combinations(names, size):
                recorder.migration_qs.filter(app="core").delete()
                for name in recorded:
                    recorder.record_applied("core", name)
                executor = MigrationExecutor(connection)
                try:
                    executor.loader.check_consistent_history(connection)
                except InconsistentMigrationHistory:
                    continue  # with a gap in it: migrate itself would refuse
                compared += 1
                plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
                expected = sorted(
                    (migration.app_label, migration.name)
                    for migration, _ in plan
                    if migration.name not in recorded  # see the exception in `pending`
                )
                disk, applied = migration_state.on_disk(), migration_state.applied()
                with self.subTest(recorded=recorded):
                    self.assertEqual(migration_state.pending(disk, applied), expected)
        self.assertGreater(compared, 8)

    def test_a_squash_whose_parts_are_deleted_is_judged_by_their_records(self) -> None:
        self.write("0001_squashed_0002", replaces=("0001_first", "0002_second"))
        disk = migration_state.on_disk()
        squash, first, second = (
            ("core", name) for name in ("0001_squashed_0002", "0001_first", "0002_second")
        )
        ours = {key: value for key, value in disk.items() if key[0] == "core"}
        self.assertEqual(migration_state.pending(ours, {first, second}), [])
        self.assertEqual(migration_state.pending(ours, set()), [squash])
