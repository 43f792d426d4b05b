"""What the tests of drift share: migrations, changes by hand, and the way back."""

from __future__ import annotations

from .site import Site

ALLOWED = {"ON_INCOMPATIBLE": "allow"}  # the serving release is the subject of other tests
WEIGHT = 'migrations.AddField("item", "weight", models.IntegerField(null=True))'
SIZE = 'migrations.AddField("order", "size", models.IntegerField(null=True))'
WIDER = 'migrations.AlterField("item", "name", models.TextField())'
FOREIGN_KEY = """
SELECT conname::text FROM pg_constraint
WHERE contype = 'f' AND conrelid = 'shop_order'::regclass
"""
VIEW = "CREATE VIEW dear AS SELECT id, name FROM shop_item WHERE price > 40"
FUNCTION = "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
TRIGGER = (
    "CREATE TRIGGER noted BEFORE UPDATE OF name ON shop_item FOR EACH ROW EXECUTE FUNCTION noted()"
)
POLICY = "CREATE POLICY shown ON shop_item USING (name <> 'hidden')"


def mend(site: Site) -> list[str]:
    """Run the SQL that ``drift`` gives for what matters, and return it."""
    differences = site.run("drift", "--json").report["result"]["differences"]
    scripts = [one["sql"] for one in differences if one["alarm"] and one["sql"]]
    assert scripts, differences
    for script in scripts:
        assert (script[0].splitlines()[-1], script[-1]) == ("BEGIN;", "COMMIT;"), script
        site.sql("\n".join(script))
    return [statement for script in scripts for statement in script]
