"""What the search puts together: changes, drift and faults, each valid alone, not always together.

Names come from small pools, so that changes meet each other, and some cannot be applied.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

ITEM = 'migrations.{0}("Item", {1})'
ORDER = 'migrations.{0}("Order", {1})'
OPERATIONS = (
    ITEM.format("AddField", '"a", models.IntegerField(null=True)'),
    ITEM.format("AddField", '"b", models.CharField(max_length=9, default="x")'),
    ITEM.format("AddField", '"extra", models.TextField(null=True)'),
    ORDER.format("AddField", '"other", models.ForeignKey("shop.Item", models.CASCADE, null=True)'),
    ITEM.format("AlterField", '"name", models.CharField(max_length=90)'),
    ITEM.format("AlterField", '"name", models.CharField(max_length=5)'),  # too long
    ITEM.format("AlterField", '"name", models.CharField(max_length=50, unique=True)'),
    ITEM.format("AlterField", '"price", models.BigIntegerField(default=0)'),
    ITEM.format("AlterField", '"price", models.CharField(max_length=20)'),
    ITEM.format("AlterField", '"note", models.TextField()'),  # NULLs
    ORDER.format("AlterField", '"quantity", models.IntegerField(unique=True)'),  # duplicates
    ORDER.format("AlterField", '"quantity", models.IntegerField(db_index=True)'),
    ITEM.format("RemoveField", '"note"'),
    ORDER.format("RemoveField", '"item"'),
    ITEM.format("RenameField", '"price", "cost"'),
    ITEM.format("AddIndex", 'models.Index(fields=["name"], name="by_name")'),
    ITEM.format("RemoveIndex", '"by_name"'),
    ITEM.format("AddConstraint", 'models.UniqueConstraint(fields=["name"], name="one_name")'),
    ORDER.format("AlterUniqueTogether", '{("item", "quantity")}'),
    'migrations.RenameModel("Order", "Purchase")',
    'migrations.AlterModelTable("Order", "orders")',
    'migrations.DeleteModel("Order")',
    'migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True)), '
    '("item", models.ForeignKey("shop.Item", models.CASCADE))])',
    'migrations.RunPython(lambda apps, editor: apps.get_model("shop", "Item").objects'
    '.filter(note=None).update(note="none"))',
    'migrations.RunPython(lambda apps, editor: apps.get_model("shop", "Order").objects'
    ".filter(quantity__gt=6).delete())",
    "migrations.RunPython(lambda apps, editor: 1 / 0)",
    'migrations.RunSQL("ALTER TABLE shop_item ADD CONSTRAINT cheap CHECK (price < 10)")',  # dear
    'migrations.RunSQL("ALTER TABLE shop_item ADD CONSTRAINT sound CHECK (price >= 0)")',
    'migrations.RunSQL("UPDATE shop_item SET price = price + 1")',
    'migrations.RunSQL("CREATE VIEW dear AS SELECT id, name FROM shop_item WHERE price > 9")',
    'migrations.RunSQL("SELECT nothing FROM nowhere")',
)
# Each in a migration with atomic = False, as Django asks for it.
ALONE = (
    'migrations.RunSQL("CREATE INDEX CONCURRENTLY by_price ON shop_item (price)")',
    'migrations.RunSQL("CREATE UNIQUE INDEX CONCURRENTLY one_price ON shop_item (price)")',
    'migrations.RunSQL("VACUUM shop_order")',  # only by a swap
)
DRIFT = (
    "ALTER TABLE shop_item ADD COLUMN a integer",
    "ALTER TABLE shop_item ADD COLUMN extra varchar(3)",
    "ALTER TABLE shop_item DROP COLUMN note",
    "ALTER TABLE shop_item ALTER COLUMN price TYPE bigint",
    "ALTER TABLE shop_item ALTER COLUMN name DROP NOT NULL",
    "ALTER TABLE shop_item ALTER COLUMN name SET DEFAULT 'none'",
    "ALTER TABLE shop_item RENAME COLUMN price TO cost",
    "ALTER TABLE shop_item ADD CONSTRAINT by_hand CHECK (price >= 0)",
    "ALTER TABLE shop_item DROP CONSTRAINT shop_item_pkey CASCADE",
    "CREATE INDEX by_hand ON shop_item (name)",
    "CREATE INDEX by_name ON shop_item (name)",
    "CREATE VIEW by_hand_too AS SELECT name, price FROM shop_item",
    "CREATE TABLE shop_tag (id integer)",
    "DROP TABLE shop_order",
    "DELETE FROM django_migrations WHERE app = 'shop'",  # applied, and not recorded
    "DELETE FROM django_migrations WHERE app = 'auth' AND name LIKE '0012%'",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0002_step', now())",
)
FAULTS = ("kill", "terminate", "cancel", "lock")
LOCKS = ("ACCESS SHARE", "ROW EXCLUSIVE", "ACCESS EXCLUSIVE")
LONGEST_SECONDS = 2.5  # a run of an example takes 1 to 3
EVERYTHING = {"ON_LOSS": "allow", "ON_DOWNTIME": "allow", "ON_INCOMPATIBLE": "allow"}


@dataclass(frozen=True)
class Step:
    """A migration: its operations, and whether it has ``atomic = False``."""

    operations: tuple[str, ...]
    atomic: bool = True


@dataclass(frozen=True)
class Fault:
    """``kind``: of FAULTS, or "" for none. ``after``: seconds from the start of the process.

    A lock is held from the start, in the mode ``lock``, and let go ``after``.
    """

    kind: str = ""
    after: float = 0.0
    lock: str = LOCKS[0]


@dataclass(frozen=True)
class Case:
    """A database that is not as it should be, a release, and what goes wrong meanwhile."""

    drift: tuple[str, ...]
    steps: tuple[Step, ...]
    policies: tuple[tuple[str, str], ...]
    fault: Fault


STEPS = st.one_of(
    st.builds(
        Step,
        st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=2, unique=True).map(tuple),
    ),
    st.builds(Step, st.sampled_from(ALONE).map(lambda one: (one,)), st.just(False)),
)
SOUND_STEPS = st.sampled_from(
    [Step((one,)) for one in (OPERATIONS[0], OPERATIONS[4], OPERATIONS[15], OPERATIONS[23])]
    + [Step((ALONE[0],), atomic=False)]
)
POLICIES = st.fixed_dictionaries(
    {
        "ON_DRIFT": st.sampled_from(["allow", "ask"]),
        "REHEARSE": st.sampled_from(["full", "full", "schema", "off"]),
    }
).map(lambda chosen: tuple(sorted({**EVERYTHING, **chosen}.items())))
DRIFTS = st.lists(st.sampled_from(DRIFT), max_size=2, unique=True).map(tuple)

# Two searches: what the release meets, and what happens while a sound one is applied.
MEETINGS = st.builds(
    Case,
    DRIFTS,
    st.lists(STEPS, min_size=1, max_size=3).map(tuple),
    POLICIES,
    st.just(Fault()),
)
ACCIDENTS = st.builds(
    Case,
    st.just(()),
    st.lists(SOUND_STEPS, min_size=1, max_size=3, unique=True).map(tuple),
    POLICIES,
    st.builds(
        Fault,
        st.sampled_from(FAULTS),
        st.floats(0.3, LONGEST_SECONDS),
        st.sampled_from(LOCKS),
    ),
)
