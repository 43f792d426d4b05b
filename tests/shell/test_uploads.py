"""`backup` and `restore` of uploads: what is not whole is none. (With an engine: tests/stack.)"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from .fakes import FakeDocker
from .machine import Clone

# The volume is a folder here, and what would run in a container runs beside it.
TRIAL = r"""
for trial_command in backup restore; do . "$ROOT/commands/$trial_command.sh"; done
volume=$ROOT/volume
in_uploads() {
    shift
    case $1 in
    sh) [ -z "$FULL" ] || return 1; sh -c "$(printf '%s' "$3" | sed "s#/files#$volume#g")" ;;
    tar) shift 3 && tar -C "$volume" "$@" ;;
    esac
}
main() {
    MODE=prod
    open_log trial
    case $1 in
    back-up) backup_file=$2 && write_uploads && keep_backup ;;
    find) ! has_uploads || say found ;;
    *) require_backup "$2" && restore_uploads "$2" ;;
    esac
}
"""


@pytest.fixture
def clone(dash_clone: Clone, docker: FakeDocker) -> Clone:
    """A site with one upload, which can be backed up without an engine."""
    dash_clone.add_command("trial", TRIAL)
    dash_clone.environment["FULL"] = ""
    docker.answer("volume inspect *-prod_prod-media")
    (dash_clone.root / "volume/public/media").mkdir(parents=True)
    (dash_clone.root / "volume/public/media/a cat.jpg").write_bytes(b"cat" + bytes(30_000))
    (dash_clone.root / "backups").mkdir(exist_ok=True)
    return dash_clone


def written(clone: Clone) -> Path:
    backup = clone.root / "backups/shop-uploads.tar"
    clone.run("trial", "back-up", str(backup)).assert_ok()
    return backup


def test_what_was_backed_up_is_put_back(clone: Clone) -> None:
    backup = written(clone)
    upload = clone.root / "volume/public/media/a cat.jpg"
    upload.unlink()
    upload.with_name("more").symlink_to("../more")

    clone.run("trial", "restore", str(backup)).assert_ok()

    assert upload.read_bytes() == b"cat" + bytes(30_000)
    assert clone.run("trial", "find").assert_ok().out == "found\n"


def test_a_disk_that_fills_up_leaves_no_backup(clone: Clone) -> None:
    """Docker says 1 then, as tar does for a file that has changed meanwhile."""
    clone.environment["FULL"] = "yes"

    assert clone.run("trial", "back-up", str(clone.root / "backups/shop-uploads.tar")).status == 1

    assert not (clone.root / "backups/shop-uploads.tar").exists()


def test_a_volume_that_cannot_be_read_is_not_taken_for_an_empty_one(clone: Clone) -> None:
    clone.environment["FULL"] = "yes"

    refused = clone.run("trial", "find")

    refused.assert_refused("could not be read; only the database", "then run the command again")


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """A tar with one entry of that kind."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)
    return content.getvalue()


FOREIGN = {
    "nothing": b"",
    "no tar": b"hello",
    "empty": bytes(10_240),
    "of another folder": entry("media/cat.jpg"),
    "a link to the proxy's keys": entry("./public/media/x", tarfile.SYMTYPE, "/data/caddy"),
    "a link that leads up": entry("./public/media/x", tarfile.SYMTYPE, "../../../data/caddy"),
    "a device": entry("./public/media/x.jpg", tarfile.BLKTYPE),
    "a pipe": entry("./public/media/x.jpg", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_backup_of_uploads_changes_nothing(clone: Clone, content: bytes) -> None:
    backup = clone.root / "backups/shop-uploads.tar"
    backup.write_bytes(content)

    refused = clone.run("trial", "restore", str(backup))

    refused.assert_refused("is not a whole backup of uploads; nothing was changed", "ls backups")
    assert len(list((clone.root / "volume").rglob("*"))) == 3


@pytest.mark.parametrize("size", [700, 10_240], ids=["in a header", "within empty blocks"])
def test_a_backup_that_was_cut_off_changes_nothing(clone: Clone, size: int) -> None:
    backup = written(clone)
    backup.write_bytes(backup.read_bytes()[:size])
    upload = clone.root / "volume/public/media/a cat.jpg"
    upload.write_bytes(b"newer")

    refused = clone.run("trial", "restore", str(backup))

    refused.assert_refused("is not a whole backup of uploads; nothing was changed", "ls backups")
    assert upload.read_bytes() == b"newer"


def test_a_link_within_the_volume_is_put_back(clone: Clone) -> None:
    for name, target in (("up", "../media/a cat.jpg"), ("top", "/files/public")):
        link = clone.root / "volume/public/media" / name
        link.symlink_to(target)
    backup = written(clone)

    clone.run("trial", "restore", str(backup)).assert_ok()
