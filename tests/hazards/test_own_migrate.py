"""An app that brings its own `migrate` is promised what every other project is."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from projects import Outcome

from .site import Site
from .steps import ALLOWED, three

# As big projects have it: two lines are silenced, a flag is set, and each step is told.
SUBCLASS = """
from django.conf import settings
from django.core.management.commands.migrate import Command as Parent


class Command(Parent):
    def handle(self, *args, **options):
        settings.IS_MIGRATING = True
        return super().handle(*args, **options)

    def migration_progress_callback(self, action, migration=None, fake=False):
        if action == "apply_success":
            self.stdout.write(f"the site's own words: {migration.name}")
"""
# No subclass: it calls Django's command, which nobody outside of it sees.
WRAPPER = """
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.core.management.commands.migrate import Command as Djangos


class Command(BaseCommand):
    autodetector = getattr(Djangos, "autodetector", None)  # Django 5.2 checks that it is the same

    def add_arguments(self, parser):
        Djangos().add_arguments(parser)

    def handle(self, *args, **options):
        call_command(Djangos(), database=options["database"], interactive=False, verbosity=0)
"""
LAZY = """
from django.core.management.commands.migrate import Command as Parent


class Command(Parent):
    def handle(self, *args, **options):
        return super().handle(*args, **{**options, "app_label": "contenttypes"})
"""
OWN = {"a subclass": SUBCLASS, "a wrapper": WRAPPER}
NEEDS_FLAG = """
migrations.RunPython(lambda apps, editor: apps.get_model("shop", "Item").objects.update(
    note=str(getattr(__import__("django.conf").conf.settings, "IS_MIGRATING", False))))
"""
DIVIDES = 'migrations.RunSQL("SELECT 1 / (SELECT count(*) - 200 FROM shop_item)", "")'
BY_HAND = """
ALTER TABLE shop_item DROP COLUMN note;
ALTER TABLE shop_item ALTER COLUMN price TYPE bigint;
ALTER TABLE shop_order ADD COLUMN note text
"""


def bring(site: Site, text: str = SUBCLASS) -> None:
    site.project.write("shop/management/__init__.py", "")
    site.project.write("shop/management/commands/__init__.py", "")
    site.project.write("shop/management/commands/migrate.py", text)


# --- What `plan` says of a database, and what `migrate` does with it ------------------------------


def add(site: Site, operations: str, header: str = "") -> None:
    site.migration("0002_next", operations, header=header)


def hazard(operations: str, header: str = "", by_hand: str = "") -> Callable[[Site], None]:
    def make(site: Site) -> None:
        if by_hand:
            site.sql(by_hand)
        add(site, operations, header)

    return make


def nothing(_site: Site) -> None:
    """Everything is applied."""


def two_leaves(site: Site) -> None:
    site.migration("0002_left", "")
    site.migration("0002_right", "")


def file_lost(site: Site) -> None:
    site.migration("0003_later", "", after="0002_lost")


def check_fails(site: Site) -> None:
    add(site, "")
    file = site.root / "shop/models.py"
    file.write_text(
        "from django.core.checks import Error, register\n"
        "register(lambda app_configs, **kwargs: [Error('not before 1.9', id='shop.E001')])\n"
        + file.read_text()
    )


NULLABLE = "migrations.AddField('Item', 'stock', models.IntegerField(null=True))"
HAZARDS: dict[str, tuple[int, Callable[[Site], None]]] = {
    "nothing": (0, nothing),
    "a column": (0, hazard(NULLABLE)),
    "losses, and a running release that fails": (
        3,
        hazard(
            "migrations.RemoveField('Item', 'note'), migrations.RemoveField('Item', 'price'), "
            "migrations.RunSQL('DELETE FROM shop_order')"
        ),
    ),
    "rows that do not fit": (
        3,
        hazard("migrations.AlterField('Item', 'note', models.TextField())"),
    ),
    "a swap": (3, hazard("migrations.RunSQL('VACUUM shop_item')", "atomic = False")),
    "drift": (3, hazard(NULLABLE, by_hand="ALTER TABLE shop_item ALTER price DROP NOT NULL")),
    "another program": (
        3,
        hazard("migrations.RunPython(lambda a, e: __import__('subprocess').run(['true']))"),
    ),
    "two last migrations": (3, two_leaves),
    "a file that is lost": (3, file_lost),
    "a system check": (3, check_fails),
    "an import that fails": (3, hazard("no_such_name")),
}


def reason(outcome: Outcome) -> str:
    """Why it is refused, in its words without the seconds, and how many more reasons there are.

    Empty if it is not refused.
    """
    lines = (re.sub(r"[\d.]+ s\b", "… s", line) for line in outcome.err.splitlines())
    return next((line for line in lines if line.startswith("postdo: refused: ")), "")


@pytest.mark.parametrize("name", HAZARDS)
def test_plan_and_migrate_say_the_same_and_an_own_command_changes_nothing(
    site: Site, name: str
) -> None:
    """Each of the two is changed between the two runs, since neither may count."""
    code, make = HAZARDS[name]
    make(site)
    before = site.untouched()
    both = [site.run("plan")]
    assert site.untouched() == before
    bring(site)
    both.append(site.run("migrate"))
    if code:
        assert site.untouched() == before

    assert [one.code for one in both] == [code] * len(both), [one.out + one.err for one in both]
    assert len({reason(one) for one in both}) == 1, [one.err for one in both]
    assert bool(reason(both[0])) == bool(code)


def test_a_refusal_says_the_same_by_each_command_with_and_without_their_own(site: Site) -> None:
    code, make = HAZARDS["losses, and a running release that fails"]
    make(site)
    said = [site.run(command) for command in ("plan", "migrate")]
    bring(site)
    said += [site.run(command) for command in ("plan", "migrate")]
    assert [one.code for one in said] == [code] * len(said), [one.out + one.err for one in said]
    assert len({reason(one) for one in said}) == 1, [one.err for one in said]


# --- Their command --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", OWN.values(), ids=OWN.keys())
def test_all_is_done_in_one_transaction_by_their_command(site: Site, text: str) -> None:
    bring(site, text)
    three(site)
    done = site.ends_done(**ALLOWED)
    assert "rehearsing the pending migrations" in done.out
    assert "migrated: 3 applied" in done.out
    assert ("the site's own words: 0003_fill" in done.out) == (text == SUBCLASS)


@pytest.mark.parametrize("text", OWN.values(), ids=OWN.keys())
def test_what_fails_last_undoes_the_others(site: Site, text: str) -> None:
    bring(site, text)
    three(site)
    site.migration("0005_divides", DIVIDES, after="0004_index")
    site.ends_refused("shop.0005_divides", "division by zero", **ALLOWED)
    site.ends_undone("shop.0005_divides", "division by zero", REHEARSE="off", **ALLOWED)


def test_the_flag_that_their_command_sets_is_set_in_both(site: Site) -> None:
    bring(site)
    site.migration("0002_flag", NEEDS_FLAG)
    site.ends_done(**ALLOWED)
    assert site.sql("SELECT DISTINCT note FROM shop_item") == [("True",)]


def test_a_command_that_leaves_migrations_pending_is_refused_with_its_name(site: Site) -> None:
    bring(site, LAZY)
    three(site)
    site.ends_refused(
        "the project's own migrate command (shop.management.commands.migrate) leaves 3 migrations",
        "from shop.0002_add on",
        "make the project's own migrate command",
        **ALLOWED,
    )


def test_drift_sees_what_was_changed_by_hand(site: Site) -> None:
    bring(site)
    assert site.run("drift").code == 0
    site.sql(BY_HAND)
    found = site.run("drift", "--json")
    assert found.code == 3, found.out + found.err
    told = " ".join(one["what"] for one in found.report["result"]["differences"])
    for words in ("shop_item.note", "shop_item.price", "shop_order.note"):
        assert words in told
