"""A stack belongs to a folder: a copied clone cannot touch it, and a moved one says that it is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from .clone import Clone
from .visitor import answering


def test_a_copied_clone_of_the_same_name_touches_nothing(production: Clone) -> None:
    started = {name: one.started_at for name, one in production.containers("prod").items()}
    copied = replace(production, root=production.root.parent / "copied", run_as=None)
    shutil.copytree(production.root, copied.root, symlinks=True)
    try:
        with answering(production.visitor("HTTP_PORT"), "/readyz"):
            for command in (("-0",), ("-0", "stop"), ("-0", "manage", "check"), ("plan",)):
                refused = copied.run(*command, ok=False)
                refused.refused(
                    f"belongs to the clone in {production.root}", "set another PROJECT_NAME"
                )
            still = copied.run("adopt-stack", ok=False)
    finally:
        shutil.rmtree(copied.root)

    still.refused(f"{production.root} still holds a clone", "remove or rename")
    now = {name: one.started_at for name, one in production.containers("prod").items()}
    assert now == started
    production.run("-0", "status")


def test_a_moved_clone_goes_on_once_it_has_adopted_its_stack(production: Clone) -> None:
    production.admin("HTTP_PORT").add_user("before-the-move@example.com")
    old, new = production.root, production.root.parent / "moved"
    move(production, new)
    try:
        refused = production.run("-0", ok=False)
        adopted = production.run("adopt-stack")
        production.run("-0")
        users = production.admin("HTTP_PORT").get("/admin/accounts/user/").text
    finally:
        move(production, old)

    refused.refused(f"belongs to the clone in {old}", "sh run.sh adopt-stack")
    assert "sh run.sh -0" in adopted.out
    assert "before-the-move@example.com" in users
    production.run("adopt-stack")
    production.run("-0")
    assert production.visitor("HTTP_PORT").is_up()


def move(clone: Clone, target: Path) -> None:
    """Move the folder of a clone, as `mv` does."""
    clone.root.rename(target)
    clone.root = target
