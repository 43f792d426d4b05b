"""Another PostgreSQL by one key of .env. PostgreSQL 18's image keeps its data in another folder."""

from __future__ import annotations

import json

from .clone import Clone
from .engine import docker

FIELD = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "{last}")]
    operations = [
        migrations.AddField("user", "nickname", models.CharField(max_length=9, null=True)),
    ]
"""


def volumes(clone: Clone) -> set[str]:
    """The volumes of production's database: by name, or the digits of one that has none."""
    mounts = docker("inspect", "--format", "{{json .Mounts}}", clone.containers("prod")["db"].id)
    return {mount["Name"] for mount in json.loads(mounts) if mount["Type"] == "volume"}


def test_a_site_on_postgresql_18_and_the_way_back_to_17_is_refused_while_it_serves(
    fresh: Clone,
) -> None:
    fresh.run("-0", "stop")  # writes .env
    fresh.set_in_env(POSTGRES_IMAGE="postgres:18", DB_EXTENSIONS="vector")

    fresh.run("-0")

    assert fresh.visitor("HTTP_PORT").get("/").status == 200
    assert fresh.query("prod", "SHOW server_version_num").startswith("18")
    assert volumes(fresh) == {f"{fresh.project('prod')}_prod-data"}
    assert fresh.query("prod", "SELECT '[1,2]'::vector <-> '[1,2]'") == "0"

    # A release with a rehearsal on a copy, and a backup that PostgreSQL 18 reads.
    last = max(path.stem for path in (fresh.root / "web/accounts/migrations").glob("0*.py"))
    models = "web/accounts/models.py"
    fresh.write("web/accounts/migrations/9000_nickname.py", FIELD.format(last=last))
    text = (fresh.root / models).read_text()
    head, tail = text.split("    objects", 1)
    line = "    nickname = models.CharField(max_length=9, null=True)\n"
    fresh.write(models, f"{head}{line}    objects{tail}")
    released = fresh.run("-0")
    assert "1 applied" in released.text
    assert fresh.query("prod", "SELECT count(nickname) FROM accounts_user") == "0"
    (backup,) = (fresh.root / "backups").iterdir()
    restored = fresh.run("-0", "restore", f"backups/{backup.name}").text
    assert "restored" in restored

    started = fresh.containers("prod")["db"].started_at
    fresh.set_in_env(POSTGRES_IMAGE="postgres:17")
    refused = fresh.run("-0", ok=False)

    refused.refused("was created by PostgreSQL 18", "POSTGRES_IMAGE=postgres:18")
    assert fresh.containers("prod")["db"].started_at == started
    assert fresh.visitor("HTTP_PORT").get("/").status == 200
