"""The commands that use a set: restore its database and its uploads, note that it works."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from postdo.base.result import Facts
from postdo_backup.check import check
from postdo_backup.create import UPLOADS
from postdo_backup.manifest import read
from postdo_backup.output import OWNER_ONLY
from postdo_backup.restore import Target, require_major, restore
from postdo_backup.source import Source
from postdo_backup.uploads import restore_uploads
from postdo_backup.verified import record, verification


def add_to(commands: Any) -> None:
    """Add them to the subcommands of a parser."""

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        found: argparse.ArgumentParser = commands.add_parser(name, help=text)
        found.set_defaults(run=run)
        found.add_argument("folder", type=Path, help="the set")
        found.add_argument("--identity", type=Path, help="the file with the key of age")
        return found

    add = command("usable", _usable, "check a set, and say what it is").add_argument
    add("--major", type=int, help="of the PostgreSQL that is to read it")
    add = command("restore", _restore, "restore the database of a set, and compare").add_argument
    add("--server", required=True, help="an URL without a database, of a superuser")
    add("--database", required=True, help="the database to create; one of that name is replaced")
    add("--owner", required=True, help="its role")
    add("--roles", action="store_true", help="restore the roles first, on a new server")
    add = command("restore-uploads", _restore_uploads, "put the uploads back").add_argument
    add("target", type=Path)
    add = command("extract", _extract, "write files of a set, decrypted").add_argument
    add("target", type=Path)
    add("names", nargs="+")
    add = command("verified", _verified, "note that a set was restored and used").add_argument
    add("--seconds", type=int, required=True, help="what it took")
    add("--site", choices=("release", "live"), required=True, help="which image started on it")
    add("--image-id", required=True)


def _usable(asked: argparse.Namespace, facts: Facts) -> None:
    """What run.sh asks before it uses a set, of which every file is read; empty: not known."""
    folder = asked.folder.absolute()
    source = Source(folder, check(folder), asked.identity)
    source.require_key()
    if asked.major:
        require_major(source, asked.major)
    manifest = source.manifest
    facts.add("set", source.name)
    facts.add("dump-bytes", sum(f.bytes for f in manifest.files if f.name.startswith("database.")))
    facts.add("uploads", "yes" if source.has(UPLOADS) else "")
    facts.add("bucket", manifest.bucket or "")
    for key in ("kit", "project", "mode", "why", "database"):
        facts.add(key, getattr(manifest, key))
    facts.add("made-at", manifest.made_at)
    for key in ("major", "image", "image_id"):
        facts.add(f"postgresql-{key.replace('_', '-')}", manifest.postgresql.get(key, ""))
    for key in ("number", "revision", "image_id"):
        facts.add(f"release-{key.replace('_', '-')}", manifest.release.get(key, ""))
    facts.add("tables", len(manifest.content.tables))
    facts.add("rows", sum(table.rows for table in manifest.content.tables))
    found = verification(source.folder)
    facts.add("verified-at", found.verified_at if found else "")


def _restore(asked: argparse.Namespace, _: Facts) -> None:
    target = Target(asked.server, asked.database, asked.owner)
    restore(_source(asked), target, roles=asked.roles)


def _restore_uploads(asked: argparse.Namespace, facts: Facts) -> None:
    facts.add("files", restore_uploads(_source(asked), asked.target))


def _extract(asked: argparse.Namespace, _: Facts) -> None:
    """Files that the set does not have are left out."""
    source = _source(asked)
    for name in filter(source.has, asked.names):
        with source.opened(name) as file, (asked.target / name).open("wb") as written:
            path, owner = asked.target / name, asked.target.stat()
            path.chmod(OWNER_ONLY)  # one of them is .env
            if os.geteuid() == 0:
                os.chown(path, owner.st_uid, owner.st_gid)
            shutil.copyfileobj(file, written)


def _verified(asked: argparse.Namespace, _: Facts) -> None:
    record(asked.folder.absolute(), asked.seconds, asked.site, asked.image_id)


def _source(asked: argparse.Namespace) -> Source:
    folder = asked.folder.absolute()
    return Source(folder, read(folder), asked.identity)
