"""What has to work in every version of PostgreSQL, of Django and of its driver.

A test module gives its versions by a fixture ``anywhere``, a site at its first release with rows,
and takes these tests over: ``class TestReleases(Releases)``.
"""

from __future__ import annotations

from .site import Site

STOCK = "migrations.AddField('Item', 'stock', models.IntegerField(null=True))"
FILL = (
    "migrations.RunPython(lambda apps, editor: apps.get_model('shop', 'Item').objects"
    ".update(stock=1))"
)
INDEX = "migrations.RunSQL('CREATE INDEX CONCURRENTLY by_stock ON shop_item (stock)')"
CHEAP = "migrations.RunSQL('ALTER TABLE shop_item ADD CONSTRAINT cheap CHECK (price < 10)')"
VACUUM = "migrations.RunSQL('VACUUM shop_item')"
NOT_ATOMIC = "atomic = False"
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_stock'::regclass"
BY_HAND = "ALTER TABLE shop_item ADD COLUMN by_hand integer; CREATE INDEX ON shop_item (price)"


class Releases:
    """The three ends, drift, and a swap."""

    def test_a_release_with_data_and_an_index_concurrently_is_planned_and_done(
        self, anywhere: Site
    ) -> None:
        """The rule: planned, rehearsed, applied, remembered."""
        anywhere.migration("0002_stock", STOCK)
        anywhere.migration("0003_fill", FILL, after="0002_stock")
        anywhere.migration("0004_index", INDEX, after="0003_fill", header=NOT_ATOMIC)
        done = anywhere.ends_done("migrate", "--json")
        assert done.report["result"]["mode"] == "transaction"
        assert anywhere.sql("SELECT count(*) FROM shop_item WHERE stock = 1") == [(200,)]
        assert anywhere.sql(VALID) == [(True,)]
        assert anywhere.recorded()[-1] == "0004_index"

    def test_a_release_that_fails_on_the_rows_is_refused(self, anywhere: Site) -> None:
        """HAZARDS 36."""
        anywhere.migration("0002_cheap", CHEAP)
        anywhere.ends_refused("cheap")

    def test_a_release_that_fails_only_in_production_is_undone(self, anywhere: Site) -> None:
        """HAZARDS 40, 50."""
        anywhere.migration("0002_stock", STOCK)
        anywhere.migration("0003_index", INDEX, after="0002_stock", header=NOT_ATOMIC)
        anywhere.migration("0004_cheap", CHEAP, after="0003_index")
        anywhere.ends_undone("0004_cheap", REHEARSE="off")

    def test_drift_by_hand_is_removed_by_the_sql_that_is_printed(self, anywhere: Site) -> None:
        """HAZARDS 20, 22, 29: nothing but the drift is found, and its SQL removes it."""
        assert anywhere.run("drift").code == 0
        anywhere.sql(BY_HAND)
        anywhere.sql("ALTER TABLE shop_item ALTER COLUMN name DROP NOT NULL")
        found = anywhere.run("drift", "--json")
        assert found.code == 3, found.out + found.err
        differences = found.report["result"]["differences"]
        assert {one["table"] for one in differences} == {"public.shop_item"}
        for one in differences:
            if one["alarm"]:
                anywhere.sql("; ".join(one["sql"]))
        assert anywhere.run("drift").code == 0

    def test_what_no_transaction_can_hold_is_swapped(self, anywhere: Site) -> None:
        """HAZARDS 57: a fresh copy is migrated and takes the name; the one before stays."""
        anywhere.migration("0002_stock", STOCK)
        anywhere.migration("0003_vacuum", VACUUM, after="0002_stock", header=NOT_ATOMIC)
        anywhere.ends_done(ON_DOWNTIME="allow")
        assert anywhere.sql("SELECT count(*) FROM shop_order") == [(500,)]
