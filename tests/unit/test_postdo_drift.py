"""What explains drift, and the repair of a record: only if it is still wrong under the lock."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, made_once, make_shop, open_connection
from snippets import LIGHT, inside

from postdo.base.advisory_lock import LOCK_KEY

ADD = "migrations.AddField('Item', 'price', models.IntegerField(default=0))"
OURS = "app = 'shop' AND name = '0002_price'"
RECORDED = f"SELECT count(*) FROM django_migrations WHERE {OURS}"  # noqa: S608
CHANGES = {
    "record": (
        "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0002_price', now())",
        "nothing to do: shop.0002_price is recorded as applied",
    ),
    "unrecord": (
        f"DELETE FROM django_migrations WHERE {OURS}",  # noqa: S608
        "nothing to do: shop.0002_price is not recorded as applied",
    ),
}


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Project:
    project = make_shop(tmp_path, database, settings=LIGHT)
    project.migration("shop", "0002_price", ADD, after="0001_initial")
    made_once(project, "drift", lambda: inside(project, "migrate(); archive()"))
    return project


@pytest.mark.parametrize("how", ["record", "unrecord"])
def test_a_record_that_another_process_corrected_meanwhile_is_left_alone(
    shop: Project, how: str
) -> None:
    """What was read before the lock is no reason: a deploy has done it while we waited."""
    change, word = CHANGES[how]
    other = "unrecord" if how == "record" else "record"
    shop.sql(f"DELETE FROM django_migrations WHERE {OURS}")  # noqa: S608
    if other == "record":
        shop.sql(CHANGES[other][0])
        shop.sql("ALTER TABLE shop_item DROP COLUMN price")
    deploy = open_connection(shop.url)
    deploy.cursor().execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
    waiting = shop.start("drift", f"--{how}", "shop.0002_price")
    assert waiting.stdout is not None
    printed = ""
    while "another process holds the lock" not in printed:
        line = waiting.stdout.readline()
        assert line, printed
        printed += line
    shop.sql(change)
    deploy.close()
    rest, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, word in rest) == (3, True), printed + rest
    assert "building" not in rest
    assert shop.sql(RECORDED) == [(1 if how == "record" else 0,)]


def test_a_schema_that_cannot_be_made_explains_nothing_and_hides_no_drift(shop: Project) -> None:
    shop.sql("ALTER TABLE shop_item DROP COLUMN price")
    answer = inside(
        shop,
        """
from postdo.base.errors import Refused
from postdo.drift.subject import read_subject
from postdo.drift import drift

tried = []

def cannot(subject, names):
    tried.append(names)
    raise Refused("the applied migrations cannot be run from nothing", "correct them")

subject = read_subject(run, project, session, seen(), journal)
found = drift.find(subject)
right = [str(one) for one in drift.explain(subject, found)]
drift.with_each = lambda subject, common, more: (None,) * len(more)
drift.from_nothing = cannot
answer = [len(found), right, drift.explain(subject, found), len(tried)]
""",
    )
    explained = "shop.0002_price is recorded as applied, but its changes are not in the schema"
    assert answer.value == [1, [explained], [], 2]


EXPLAINED = """
from postdo.drift.subject import read_subject
from postdo.drift import drift

subject = read_subject(run, project, session, seen(), journal)
answer = [str(one) for one in drift.explain(subject, drift.find(subject))]
"""
STOCK = ADD.replace("price", "stock")
CONCURRENTLY = f"""
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_price")]
    operations = [
        {STOCK},
        AddIndexConcurrently("Item", models.Index(fields=["stock"], name="by_stock")),
    ]
"""


def test_what_the_candidates_have_in_common_is_made_once(shop: Project) -> None:
    shop.migration("shop", "0003_stock", STOCK, after="0002_price")
    shop.sql("ALTER TABLE shop_item DROP COLUMN price")
    answer = inside(shop, EXPLAINED)
    assert answer.value == [
        "shop.0002_price is recorded as applied, but its changes are not in the schema"
    ]
    assert "building 3 more schemas from 3 migrations" in answer.out
    assert answer.out.count("building") == 2, answer.out  # the other one is what find compares with


def test_a_candidate_that_no_transaction_can_do_is_tried_alone(shop: Project) -> None:
    shop.write("shop/migrations/0003_stock.py", CONCURRENTLY)
    inside(shop, "migrate()")
    shop.sql("DELETE FROM django_migrations WHERE name = '0003_stock'")
    answer = inside(shop, EXPLAINED)
    assert answer.value == [
        "shop.0003_stock is not recorded as applied, but its changes are in the schema"
    ]
    assert "building 3 more schemas from 3 migrations" in answer.out
    assert "building the expected schema from 5 migrations" in answer.out


def test_what_was_recorded_with_proof_is_no_stranger_afterwards(shop: Project) -> None:
    shop.sql(f"DELETE FROM django_migrations WHERE {OURS}")  # noqa: S608
    shop.sql("DELETE FROM postdo_journal.source WHERE name = '0002_price'")
    done = shop.run("drift", "--record", "shop.0002_price")
    assert (done.code, "shop.0002_price: recorded" in done.out) == (0, True), done.out + done.err
    assert "warning" not in shop.run("migrate", environment={"MAKEMIGRATIONS": "off"}).err


def test_two_wrong_records_are_explained_each_by_itself(shop: Project) -> None:
    """Faked one after the other: the last one is corrected first."""
    shop.migration("shop", "0003_stock", STOCK, after="0002_price")
    inside(shop, "migrate()")
    shop.sql("ALTER TABLE shop_item DROP COLUMN price, DROP COLUMN stock")
    for name in ("0003_stock", "0002_price"):
        assert inside(shop, EXPLAINED).value == [
            f"shop.{name} is recorded as applied, but its changes are not in the schema"
        ]
        assert shop.run("drift", "--unrecord", f"shop.{name}").code == 0
    assert inside(shop, EXPLAINED).value == []


def test_what_was_made_by_hand_elsewhere_does_not_hide_a_wrong_record(shop: Project) -> None:
    shop.sql("ALTER TABLE shop_item DROP COLUMN price; ALTER TABLE shop_item ADD other text")
    assert inside(shop, EXPLAINED).value == [
        "shop.0002_price is recorded as applied, but its changes are not in the schema"
    ]


def test_a_column_changed_by_hand_is_no_reason_to_correct_a_record(shop: Project) -> None:
    shop.sql("ALTER TABLE shop_item ALTER COLUMN price TYPE bigint")
    assert inside(shop, EXPLAINED).value == []


def test_only_what_the_migrations_do_make_is_taken_for_theirs(shop: Project) -> None:
    """One that found its column gone is settled; one that only names another column is not."""
    drop = "migrations.RunSQL('ALTER TABLE shop_item DROP COLUMN IF EXISTS price -- for weight')"
    state = "migrations.RemoveField('Item', 'price')"
    both = f"migrations.SeparateDatabaseAndState([{drop}], [{state}])"
    shop.migration("shop", "0003_drop", both, after="0002_price")
    shop.sql("ALTER TABLE shop_item DROP COLUMN price, ADD COLUMN weight integer")
    answer = inside(
        shop,
        """
from postdo.drift import drift, expected_schema
from postdo.drift.subject import read_subject

before = seen().recorded
migrate()
archive()
subject = read_subject(run, project, session, seen(), journal)
as_advanced = expected_schema.from_nothing(subject, before)
expected_schema.keep(subject, as_advanced)
answer = [
    [one.what for one in drift.compare(as_advanced, drift.read(session))],
    [one.what for one in drift.find(subject)],
    [one.what for one in drift.find(subject)],
]
""",
    )
    weight = "unexpected column shop_item.weight"
    assert answer.value == [["column shop_item.price is missing", weight], [weight], [weight]]
