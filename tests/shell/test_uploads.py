"""`restore` of uploads: what is not whole is none. (With an engine: tests/stack.)"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from postdo_backup.archives import write_uploads

from .machine import Clone

# The volume is a folder here, and what would run in a container runs beside it.
TRIAL = r"""
. "$ROOT/commands/restore.sh"
volume=$ROOT/volume
in_uploads() {
    shift
    case $1 in
    sh) sh -c "$(printf '%s' "$3" | sed "s#/files#$volume#g")" ;;
    tar) shift 3 && tar -C "$volume" "$@" ;;
    esac
}
main() {
    MODE=prod
    open_log trial
    require_backup "$1"
    restore_uploads "$1"
}
"""


@pytest.fixture
def clone(dash_clone: Clone) -> Clone:
    """A site with one upload, which can be restored without an engine."""
    dash_clone.add_command("trial", TRIAL)
    (dash_clone.root / "volume/public/media").mkdir(parents=True)
    (dash_clone.root / "volume/public/media/a cat.jpg").write_bytes(b"cat" + bytes(30_000))
    (dash_clone.root / "backups").mkdir(exist_ok=True)
    return dash_clone


def written(clone: Clone) -> Path:
    """As a set has them; files of an older kit are named so too."""
    backup = clone.root / "backups/shop-uploads.tar"
    with backup.open("wb") as file:
        write_uploads(clone.root / "volume", file)
    return backup


def test_what_was_backed_up_is_put_back(clone: Clone) -> None:
    backup = written(clone)
    upload = clone.root / "volume/public/media/a cat.jpg"
    upload.unlink()

    clone.run("trial", str(backup)).assert_ok()

    assert upload.read_bytes() == b"cat" + bytes(30_000)


def test_a_site_that_has_its_uploads_in_a_bucket_does_not_get_them_from_a_set(
    clone: Clone,
) -> None:
    backup = written(clone)

    done = clone.run(
        "trial",
        str(backup),
        COMPOSE_PROFILES="s3",
        S3_ENDPOINT="https://s3.example.com",
        S3_BUCKET="uploads",
    )

    assert done.status == 0
    assert "this site has its uploads in the bucket https://s3.example.com/uploads" in done.err


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

    refused = clone.run("trial", str(backup))

    refused.assert_refused("is not a whole backup of uploads; nothing was changed", "ls backups")
    assert len(list((clone.root / "volume").rglob("*"))) == 3


@pytest.mark.parametrize("size", [700, 10_240], ids=["in a header", "within empty blocks"])
def test_a_backup_that_was_cut_off_changes_nothing(clone: Clone, size: int) -> None:
    backup = written(clone)
    backup.write_bytes(backup.read_bytes()[:size])
    upload = clone.root / "volume/public/media/a cat.jpg"
    upload.write_bytes(b"newer")

    refused = clone.run("trial", str(backup))

    refused.assert_refused("is not a whole backup of uploads; nothing was changed", "ls backups")
    assert upload.read_bytes() == b"newer"


def test_a_link_within_the_volume_is_put_back(clone: Clone) -> None:
    for name, target in (("up", "../media/a cat.jpg"), ("top", "/files/public")):
        link = clone.root / "volume/public/media" / name
        link.symlink_to(target)
    backup = written(clone)

    clone.run("trial", str(backup)).assert_ok()
