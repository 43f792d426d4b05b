"""What a version would migrate, asked of it by a program that needs nothing but Django."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from projects import REPOSITORY, Project, make_shop

SCRIPT = (REPOSITORY / "lib/pending.py").read_text()
PRICE = 'migrations.AddField("Item", "price", models.IntegerField(null=True))'


def pending(project: Project) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-"],
        input=SCRIPT,
        cwd=project.root,
        env=project.variables(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [line.removeprefix("pending=") for line in done.stdout.splitlines()]


def test_what_a_version_has_and_the_database_has_not(tmp_path: Path, database: str) -> None:
    shop = make_shop(tmp_path, database, environment={"MAKEMIGRATIONS": "off"})
    assert pending(shop)[-1] == "shop.0001_initial"

    assert shop.run("migrate").code == 0
    assert pending(shop) == []

    shop.migration("shop", "0002_price", PRICE, after="0001_initial")
    assert pending(shop) == ["shop.0002_price"]
