"""What would end in a fourth way: migrations that reach beyond their own transaction."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from projects import need_extensions, query

from .site import Site, make_site

HEADER = """from django.db import migrations, models


def work(apps, schema_editor):
    connection = schema_editor.connection
    Item = apps.get_model("shop", "Item")
"""
FOOTER = """

class Migration(migrations.Migration):
    dependencies = [("shop", {after!r})]
    operations = [migrations.RunPython(work)]
"""
# What another session does: {sql}.
THREAD = """
import threading

def elsewhere():
    from contextlib import suppress
    from django.db import DatabaseError, connection
    with suppress(DatabaseError):
        connection.cursor().execute({sql!r})
    connection.close()

thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
"""


def run_sql(site: Site, name: str, sql: str, after: str = "0001_initial") -> None:
    site.migration(name, f"migrations.RunSQL({sql!r}),", after=after)


def run_python(site: Site, name: str, body: str, after: str = "0001_initial") -> None:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    site.project.write(f"shop/migrations/{name}.py", HEADER + lines + FOOTER.format(after=after))


# --- What ends with a migration's own transaction -------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "SET LOCAL session_replication_role = replica",
        "SELECT set_config('session_replication_role', 'replica', true)",
        "DO $$ BEGIN SET LOCAL session_replication_role TO replica; END $$",
    ],
)
def test_foreign_keys_hold_again_after_a_migration_that_switched_them_off(
    site: Site, statement: str
) -> None:
    """HAZARDS 35: SET LOCAL ends with its migration, although the transaction goes on."""
    run_sql(site, "0002_off", statement)
    run_sql(
        site,
        "0003_orphan",
        "INSERT INTO shop_order (item_id, quantity) VALUES (88888, 1)",
        after="0002_off",
    )

    site.ends_refused("shop.0003_orphan", "violates foreign key constraint")


def test_settings_for_one_migration_are_gone_in_the_next(site: Site) -> None:
    """HAZARDS 38: as Django runs them, each would have a transaction of its own."""
    run_sql(
        site,
        "0002_local",
        "SET LOCAL statement_timeout = '50ms'; SET LOCAL TIME ZONE 'Asia/Tokyo'; "
        "SET LOCAL search_path TO pg_catalog, public; SET LOCAL shop.who = 'me'",
    )
    run_sql(
        site,
        "0003_seen",
        "SELECT pg_sleep(0.1); CREATE TABLE seen AS SELECT "
        "current_setting('TimeZone') AS zone, current_setting('shop.who', true) AS who",
        after="0002_local",
    )

    site.ends_done()

    assert site.sql("SELECT zone <> 'Asia/Tokyo', who FROM public.seen") == [(True, "")]


def test_a_role_for_one_migration_is_given_up_after_it(site: Site, database: str) -> None:
    """HAZARDS 56: what a later migration makes belongs to the site's own role."""
    role = f"low_{database.rpartition('_')[2]}"
    site.sql(f"CREATE ROLE {role}")
    site.sql(f"CREATE SCHEMA low AUTHORIZATION {role}")
    site.sql(f"GRANT ALL ON django_migrations TO {role}")
    run_sql(site, "0002_as_it", f"SET LOCAL ROLE {role}; CREATE TABLE low.a (i int)")
    run_sql(site, "0003_as_us", "CREATE TABLE b (i int)", after="0002_as_it")

    site.ends_done()

    owners = site.sql("SELECT tablename, tableowner FROM pg_tables WHERE tablename IN ('a', 'b')")
    assert ("a", role) in owners
    assert len(owners) == 2
    assert ("b", role) not in owners
    site.sql(f"DROP OWNED BY {role}")
    site.sql(f"DROP ROLE {role}")


def test_a_temporary_table_hides_the_real_one_only_in_its_own_migration(site: Site) -> None:
    """HAZARDS 41: otherwise the update would go to the temporary one, and be lost."""
    run_sql(
        site,
        "0002_temporary",
        "CREATE TEMP TABLE shop_item ON COMMIT DROP AS SELECT * FROM public.shop_item",
    )
    run_sql(site, "0003_update", "UPDATE shop_item SET price = 777", after="0002_temporary")

    site.ends_done()

    assert site.sql("SELECT count(*) FROM shop_item WHERE price = 777") == [(200,)]


def test_two_migrations_can_use_temporary_tables_of_one_name(site: Site) -> None:
    """HAZARDS 57: no swap is needed for that."""
    use = (
        "CREATE TEMPORARY TABLE chosen ON COMMIT DROP AS SELECT id FROM shop_item WHERE id < 11; "
        "UPDATE shop_item SET price = price + 100 FROM chosen WHERE chosen.id = shop_item.id"
    )
    run_sql(site, "0002_once", use)
    run_sql(site, "0003_again", use, after="0002_once")

    assert "transaction" in site.ends_done("migrate", "--json").out

    assert site.sql("SELECT count(*) FROM shop_item WHERE price >= 200") == [(10,)]


def test_a_constraint_that_is_checked_at_once_stays_so(site: Site) -> None:
    """HAZARDS 37: only what is deferred by itself is deferred again after a migration."""
    site.migration(
        "0002_place",
        'migrations.AddField("item", "place", models.IntegerField(null=True)),'
        'migrations.AddConstraint("item", models.UniqueConstraint(fields=["place"], '
        'name="one_place", deferrable=models.Deferrable.IMMEDIATE)),',
    )
    run_python(
        site,
        "0003_first_wins",
        """
from django.db import IntegrityError, transaction
for item in Item.objects.order_by("id")[:10]:
    try:
        with transaction.atomic():
            item.place = 5
            item.save()
    except IntegrityError:
        pass
""",
        after="0002_place",
    )

    site.ends_done()

    assert site.sql("SELECT id FROM shop_item WHERE place = 5") == [(1,)]


# --- Sessions beside the one that migrates --------------------------------------------------------


def test_a_thread_that_writes_in_a_session_of_its_own_is_noticed(site: Site) -> None:
    """HAZARDS 58: nobody would take that back, and a thread's error is lost to its migration."""
    run_python(site, "0002_thread", THREAD.format(sql="UPDATE shop_item SET price = 3"))

    site.ends_refused("they cannot run in one transaction", "shop.0002_thread")


def test_a_thread_that_writes_is_undone_without_a_rehearsal(site: Site) -> None:
    """HAZARDS 58: the other session is not let to write beside the transaction."""
    run_python(site, "0002_thread", THREAD.format(sql="UPDATE shop_item SET price = 3"))

    site.ends_undone("shop.0002_thread", "read-only transaction", REHEARSE="off")


def test_a_thread_that_writes_is_done_by_a_swap(site: Site) -> None:
    """HAZARDS 58: on a copy of its own it can, and all of it is put in place at once."""
    run_python(site, "0002_thread", THREAD.format(sql="UPDATE shop_item SET price = 3"))

    site.ends_done(ON_DOWNTIME="allow")

    assert site.sql("SELECT DISTINCT price FROM shop_item") == [(3,)]


def test_a_thread_may_read_in_a_session_of_its_own(site: Site) -> None:
    """HAZARDS 58: no false refusal."""
    run_python(site, "0002_thread", THREAD.format(sql="SELECT * FROM shop_item"))

    site.ends_done()


def test_the_timeouts_of_a_role_are_for_the_site_and_not_for_migrations(
    site: Site, database: str
) -> None:
    """HAZARDS 38: neither in the rehearsal nor in the change."""
    name = database.rpartition("/")[2]
    site.sql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'")
    site.sql(f"ALTER DATABASE {name} SET statement_timeout = '300ms'")
    run_python(
        site,
        "0002_slow",
        """
import time
time.sleep(0.4)
connection.cursor().execute("SELECT pg_sleep(0.5)")
Item.objects.update(price=4)
""",
    )

    site.ends_done()

    assert site.sql("SELECT DISTINCT price FROM shop_item") == [(4,)]


def test_a_second_alias_of_the_database_does_not_write_beside_the_transaction(
    tmp_path: Path, database: str
) -> None:
    """HAZARDS 19 and 58."""
    site = make_site(tmp_path, database, settings='DATABASES["again"] = dict(DATABASES["default"])')
    run_python(site, "0002_again", 'Item.objects.using("again").create(name="beside")')

    site.ends_refused("shop.0002_again", "they cannot run in one transaction")


def test_a_rehearsal_does_not_write_into_a_foreign_table(site: Site, database: str) -> None:
    """HAZARDS 61: the server reaches it by itself, and in no transaction of the copy."""
    need_extensions(database, "postgres_fdw")
    url = urlsplit(database)
    name = f"far_{url.path[1:]}"
    site.sql(f"CREATE DATABASE {name}")
    far = urlunsplit(url._replace(path=f"/{name}"))
    query(far, "CREATE TABLE kept (i int)")
    site.sql("CREATE EXTENSION postgres_fdw")
    site.sql(
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS "
        f"(host '{url.hostname}', port '{url.port}', dbname '{name}')"
    )
    site.sql(
        "CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS "
        f"(user '{url.username}', password '{url.password}')"
    )
    site.sql("CREATE FOREIGN TABLE kept (i int) SERVER far")
    run_sql(site, "0002_far", "INSERT INTO kept VALUES (1)")
    site.migration(
        "0003_apart",
        'migrations.RunSQL("VACUUM shop_item"),',
        after="0002_far",
        header="atomic = False",
    )
    try:
        assert site.run("plan").code == 3
        assert query(far, "SELECT count(*) FROM kept") == [(0,)]
    finally:
        site.sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_migration_that_ends_the_process_with_success_has_not_succeeded(site: Site) -> None:
    """It would look as if everything were applied, and the new release would be started."""
    run_python(site, "0002_gone", "import os\nos._exit(0)")
    site.ends_refused("shop.0002_gone failed in the rehearsal", "os._exit(0)")
    site.ends_undone("shop.0002_gone", "os._exit(0)", REHEARSE="off")
