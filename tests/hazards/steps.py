"""What the tests of failures and of kills share: three migrations, and where a run is."""

from __future__ import annotations

import subprocess
from textwrap import indent
from urllib.parse import urlsplit

from projects import query
from waiting import until

from embedded_postgres import Application, Cluster

from .site import Site, Snapshot

ALLOWED = {"ON_INCOMPATIBLE": "allow"}  # the serving release is the subject of HAZARDS 62
ADD = 'migrations.AddField("item", "colour", models.CharField(max_length=9, null=True))'
FILL = 'migrations.RunSQL("UPDATE shop_item SET note = \'filled\'", "")'
INDEX = 'migrations.AddIndex("order", models.Index(fields=["quantity"], name="by_quantity"))'
HALF = f'{ADD}, migrations.RunSQL("SELECT 1 / (SELECT count(*) - 200 FROM shop_item)", "")'  # noqa: S608
NOT_ATOMIC = "atomic = False"
ENDS_SECONDS = 60


def three(site: Site) -> None:
    """A column, new values in every row, and an index."""
    site.migration("0002_add", ADD)
    site.migration("0003_fill", FILL, after="0002_add")
    site.migration("0004_index", INDEX, after="0003_fill")


ALL = ["0001_initial", "0002_add", "0003_fill", "0004_index"]


def all_or_nothing(site: Site, before: Snapshot) -> None:
    """The database is as before, or has all three migrations."""
    until(lambda: sessions(site) == 0, "the end of what the killed one left running")
    recorded = site.recorded()
    assert recorded in (ALL[:1], ALL)
    if recorded == ALL[:1]:
        assert site.untouched() == before
    else:
        assert site.sql("SELECT count(*) FROM shop_item WHERE note <> 'filled'") == [(0,)]
        assert site.sql("SELECT count(colour) FROM shop_item") == [(0,)]
        assert site.sql("SELECT count(*) FROM pg_indexes WHERE indexname = 'by_quantity'") == [(1,)]


def sessions(site: Site) -> int:
    """How many of postdo's sessions live on the server."""
    ((count,),) = site.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'postdo%'"
    )
    return int(count)


PLACES = {
    "rehearsing": "rehearsing the pending migrations",
    "applying": "applied shop.0002_add",
    "at the end": "applied shop.0004_index",
}


def start_and_wait(site: Site, words: str) -> subprocess.Popen[str]:
    process = site.start("migrate", **ALLOWED)
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return process
    raise AssertionError(f"it ended without {words!r}")


def run_python(site: Site, name: str, body: str, after: str = "0001_initial") -> None:
    """A migration that runs this code."""
    operation = "migrations.RunPython(work, migrations.RunPython.noop)"
    file = site.migration(name, operation, after=after)
    function = f"def work(apps, schema_editor):\n{indent(body.strip(), '    ')}\n"
    file.write_text(file.read_text().replace("\n\nclass ", f"\n\n{function}\n\nclass ", 1))


def restart(cluster: Cluster, url: str) -> None:
    """Have the server answer again, on the same port."""
    parts = urlsplit(url)
    if cluster.status().state != "running":
        assert parts.username
        assert parts.password
        assert parts.port
        tester = Application(parts.username, "tester", parts.password, superuser=True)
        cluster.start(parts.port, tester)

    def answers() -> bool:
        try:
            return bool(query(url, "SELECT 1"))
        except Exception:  # noqa: BLE001  whichever driver is installed
            return False

    until(answers, "the server's answer")
