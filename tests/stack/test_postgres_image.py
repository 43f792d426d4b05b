"""A site of an older kit stays on PostgreSQL 17; a new one, in every other file here, has 18."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .clone import Clone
from .engine import docker
from .servers import SUPERUSER, database_server

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


def test_a_file_without_the_key_stays_on_17_and_18_is_refused_while_it_serves(fresh: Clone) -> None:
    fresh.run("-0", "stop")  # writes .env
    env = (fresh.root / ".env").read_text()
    fresh.write(".env", re.sub("(?m)^POSTGRES_IMAGE=.*\n", "", env))

    fresh.run("-0")

    assert fresh.visitor("HTTP_PORT").get("/").status == 200
    assert fresh.query("prod", "SHOW server_version_num").startswith("17")
    assert volumes(fresh) == {f"{fresh.project('prod')}_prod-data"}

    # A release with a rehearsal on a copy, and a backup that PostgreSQL 17 reads.
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
    fresh.set_in_env(POSTGRES_IMAGE="postgres:18")
    refused = fresh.run("-0", ok=False)

    refused.refused("was created by PostgreSQL 17", "POSTGRES_IMAGE=postgres:17")
    assert fresh.containers("prod")["db"].started_at == started
    assert fresh.visitor("HTTP_PORT").get("/").status == 200


def test_a_new_site_has_18_in_the_one_volume(production: Clone) -> None:
    assert production.query("prod", "SHOW server_version_num").startswith("18")
    assert volumes(production) == {f"{production.project('prod')}_prod-data"}


def test_an_extension_that_an_image_brings_is_made_by_the_kit(engine: None, tmp_path: Path) -> None:
    with database_server(tmp_path, image="postgres:18") as server:
        server.start()
        server.wait()
        server.settle(extensions="vector")

        assert server.query(SUPERUSER, "SELECT '[1,2]'::vector <-> '[1,2]'") == "0"
