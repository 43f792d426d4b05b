"""Findings for the tests of plans and reports, made without a database."""

from __future__ import annotations

from dataclasses import replace

from postdo.base.config import Answer, Policies
from postdo.compatibility.compare import Clash
from postdo.plan.decide import Plan, decide
from postdo.plan.findings import Findings, Pending, Problem
from postdo.rehearsal.rehearse import Rehearsal
from postdo.rehearsal.trace import Effect, Failure, Lock, Loss, Statement, Step, Trace
from postdo.schema.catalogue import Catalogue
from postdo.schema.diff import Difference

DEFAULT = Policies()
ITEM = "public.shop_item"
EMPTY = Catalogue(17, ())

PRICE = Pending(
    name="shop.0002_price",
    package="",
    atomic=True,
    operations=("Add field price to item", "Raw Python operation"),
    sql=(
        'ALTER TABLE "shop_item" ADD COLUMN "price" numeric(8, 2) DEFAULT 0 NOT NULL',
        'ALTER TABLE "shop_item" ALTER COLUMN "price" DROP DEFAULT',
    ),
    checksum="a1" * 32,
)
NOTE = Pending(
    name="shop.0003_remove_note",
    package="",
    atomic=False,
    operations=("Remove field note from item",),
    sql=('ALTER TABLE "shop_item" DROP COLUMN "note" CASCADE',),
    checksum="b2" * 32,
)
STOCK = Pending(
    name="partner.0007_stock_index",
    package="django-oscar 4.1",
    atomic=True,
    operations=("Create index partner_stock_idx on field(s) sku of model StockRecord",),
    sql=('CREATE INDEX "partner_stock_idx" ON "partner_stockrecord" ("sku")',),
    checksum="c3" * 32,
)

NULLS = Failure(
    migration="shop.0002_price",
    what='column "price" of relation "shop_item" contains null values',
    place="shop/migrations/0002_price.py:12",
    sqlstate="23502",
    statement='ALTER TABLE "shop_item" ALTER COLUMN "price" SET NOT NULL',
    rows=("id=17, name='Blue mug', price=NULL", "id=23, name='Red mug', price=NULL"),
    single_only=False,
    output=("Segmentation fault",),
)
TWO_CONNECTIONS = Failure(
    migration="shop.0002_price",
    what="canceling statement due to lock timeout",
    place="shop/migrations/0002_price.py:19",
    sqlstate="55P03",
    statement="UPDATE shop_item SET price = 1",
    rows=(),
    single_only=True,
)
BLOCKING = Problem(
    hazard=5,
    what="shop has two last migrations: 0002_price, 0002_stock",
    next_step="run makemigrations --merge in development, and commit the result",
    blocking=True,
    details=("0002_price by Anna", "0002_stock by Bert"),
)
REMARK = Problem(
    hazard=54,
    what="a standby is 340 MB behind",
    next_step="wait until it has caught up, if you read from it",
    blocking=False,
    details=("replica_1: 340 MB",),
)
ALARM = Difference(
    kind="column",
    table=ITEM,
    name="name",
    what="shop_item.name is character varying(80), expected character varying(50)",
    alarm=True,
    sql=('ALTER TABLE "shop_item" ALTER COLUMN "name" TYPE character varying(50)',),
)
ELSEWHERE = Difference(
    kind="trigger",
    table="public.auth_user",
    name="audit",
    what="trigger audit on auth_user is in no migration",
    alarm=True,
    sql=('DROP TRIGGER "audit" ON "auth_user"',),
)
HARMLESS = Difference(
    kind="index",
    table=ITEM,
    name="by_hand",
    what="index by_hand on shop_item was made by hand",
    alarm=False,
    sql=('DROP INDEX "by_hand"',),
)
CLASH = Clash(
    table=ITEM,
    what="shop_item.note is gone, and model shop.Item reads it",
    breaks="reads",
    steps=(
        "release a version whose code does not use note any more, without the migration",
        "release the migration afterwards",
    ),
)
COLUMN_LOSS = Loss("column", ITEM, "note", 1204)

BRIEF = Lock(ITEM, "ACCESS EXCLUSIVE", 0.12)
LONG = Lock(ITEM, "ACCESS EXCLUSIVE", DEFAULT.lock_seconds + 0.1)
BLOCKING_MODES = ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
HARMLESS_MODES = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE")


def trace(
    *,
    locks: tuple[Lock, ...] = (BRIEF,),
    losses: tuple[Loss, ...] = (),
    altered: tuple[str, ...] = (ITEM,),
    seconds: float = 1.7,
) -> Trace:
    """A successful run that added a price, dropped a note and made an index."""
    filled = Effect(ITEM, 0, 1204, 0)
    steps = (
        Step(
            migration=PRICE.name,
            seconds=1.2,
            statements=(Statement(PRICE.sql[0], 0.11), Statement(PRICE.sql[1], 0.01)),
            locks=locks,
            rewrites=(ITEM,),
            effects=(filled,),
        ),
        Step(NOTE.name, 0.02, (Statement(NOTE.sql[0], 0.01),), (), (), ()),
        Step(STOCK.name, 0.4, (Statement(STOCK.sql[0], 0.4),), (), (), ()),
        Step("post_migrate", 0.08, (), (), (), (Effect("public.auth_permission", 4, 0, 0),)),
    )
    return Trace(
        steps=steps,
        locks=locks,
        effects=(filled, Effect("public.auth_permission", 4, 0, 0)),
        losses=losses,
        altered=altered,
        seconds=seconds,
        peak_memory_mb=84,
        lock_count=41,
        wal_bytes=2_400_000,
        before=EMPTY,
        after=EMPTY,
    )


def rehearsal(seen: Trace | None = None, **changes: object) -> Rehearsal:
    """A full rehearsal that succeeded in one transaction, unless ``changes`` say otherwise."""
    usual = Rehearsal(
        method="full",
        mode="transaction",
        trace=seen or trace(),
        failure=None,
        plain_failure=None,
        outside=(),
        backup="/backups/shop-2026-11-21.dump",
        copy_seconds=12.8,
        size_bytes=950_000_000,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def failed(*failures: Failure) -> Rehearsal:
    """A rehearsal that failed in every mode: in one transaction, and then as Django does it."""
    first, second = (*failures, None, None)[:2]
    return rehearsal(mode="", trace=None, failure=first, plain_failure=second)


def findings(**changes: object) -> Findings:
    """Three pending migrations that nothing speaks against, unless ``changes`` say otherwise."""
    usual = Findings(
        database="shop",
        server="PostgreSQL 17.2",
        release="1.5",
        serving="1.4",
        empty=False,
        pending=(PRICE, NOTE, STOCK),
        problems=(),
        drift=(),
        drift_unknown="",
        explained=(),
        rehearsal=rehearsal(),
        rehearsal_missing="",
        clashes=(),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def everything() -> Findings:
    """Findings in which every part has something in it."""
    return findings(
        problems=(BLOCKING, REMARK),
        drift=(ALARM, ELSEWHERE, HARMLESS),
        drift_unknown="the journal has no expected schema",
        explained=("shop.0001_initial is recorded, but was not applied",),
        rehearsal=rehearsal(
            trace(losses=(COLUMN_LOSS, Loss("rows", "public.shop_cart", "", 31))),
            mode="swap",
            failure=TWO_CONNECTIONS,
            plain_failure=NULLS,
            outside=("mail to 3 recipients", "network api.example.com:443"),
        ),
        rehearsal_missing="pg_dump 17 is not installed",
        clashes=(CLASH,),
    )


def decided(**changes: object) -> Plan:
    """The plan over ``findings(**changes)`` under the usual policies."""
    return decide(findings(**changes), DEFAULT)


def losing(*losses: Loss) -> Findings:
    return findings(rehearsal=rehearsal(trace(losses=losses)))


def locking(*locks: Lock, **changes: object) -> Findings:
    return findings(rehearsal=rehearsal(trace(locks=locks), **changes))


def swapping() -> Findings:
    return findings(rehearsal=rehearsal(mode="swap", failure=TWO_CONNECTIONS))


def answering(field: str, answer: Answer) -> Policies:
    """The usual policies, but for one."""
    return replace(DEFAULT, **{field: answer})  # type: ignore[arg-type]


def kinds(plan: Plan) -> list[str]:
    return [reason.kind for reason in plan.reasons]


EVERYTHING = decide(everything(), DEFAULT)
# One plan for each verdict, and those in which a part is missing.
ALL: dict[str, Plan] = {
    "everything": EVERYTHING,
    "go": decided(),
    "ask": decided(clashes=(CLASH,)),
    "failed": decided(rehearsal=failed(NULLS)),
    "nothing": decided(pending=(), rehearsal=None, clashes=None),
    "not rehearsed": decided(rehearsal=None, drift=None, clashes=None),
    "empty": decided(rehearsal=None, empty=True, clashes=None, serving=""),
    "schema": decided(rehearsal=rehearsal(method="schema")),
}
