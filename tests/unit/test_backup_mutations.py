"""Sets that were changed after they were written: `check` finds each change.

(A missing row, and a digest that was edited together with the checksums, are found by restoring
the set: tests/unit/test_backup_restore.py.)
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import needed

from postdo_backup.__main__ import main
from postdo_backup.check import check
from postdo_backup.digests import Content, NextValue, Table
from postdo_backup.errors import BackupFailed, Damaged
from postdo_backup.manifest import MANIFEST, SUMS, Manifest, file_of, write
from postdo_backup.output import Output

FILES = {
    "database.dump": 70_001,
    "globals.sql": 900,
    "uploads.tar": 20_480,
    "site.tar.gz": 9_000,
    "env": 300,
    "override": 1,
}
Change = Callable[[Path, Path], None]


def write_set(folder: Path, seed: int, recipient: str | None = None) -> Path:
    """A set with contents of its own; nothing here reads what is in a dump."""
    chance = random.Random(seed)  # noqa: S311  reproducible, and no secret
    folder.mkdir(parents=True)
    for name, size in FILES.items():
        with Output(folder, recipient).file(name) as file:
            file.write(chance.randbytes(size))
    manifest = Manifest(
        kit="0.1.0",
        project="shop",
        mode="prod",
        made_at=f"2026-11-30T18:45:{seed:02}Z",
        why="command",
        postgresql={"major": 18, "image": "postgres:18", "image_id": "sha256:1"},
        release={"number": "7", "revision": "abc", "image_id": "sha256:2"},
        database="shop",
        content=Content(
            (Table("public", "shop_item", 50, f"{seed:016x}"),),
            (NextValue("public", "shop_item_id_seq", 51, 51),),
        ),
        files=tuple(file_of(path) for path in sorted(folder.iterdir())),
        encrypted=recipient,
    )
    write(folder, manifest)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One to change, and another one. To be copied only."""
    folder = tmp_path_factory.mktemp("sets")
    return write_set(folder / "shop-prod-1", 1), write_set(folder / "shop-prod-2", 2)


@pytest.fixture
def copies(tmp_path: Path, sets: tuple[Path, Path]) -> tuple[Path, Path]:
    one, other = (Path(shutil.copytree(each, tmp_path / each.name)) for each in sets)
    return one, other


def flipped(name: str, at: float) -> Change:
    """One bit of the byte that is that far into the file."""

    def change(folder: Path, _: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[min(int(len(content) * at), len(content) - 1)] ^= 1
        (folder / name).write_bytes(content)

    return change


def cut(name: str, by: int | None) -> Change:
    """Without its last bytes; ``None``: without any."""

    def change(folder: Path, _: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(b"" if by is None else content[:-by])

    return change


def longer(name: str) -> Change:
    def change(folder: Path, _: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(b"\0")

    return change


def gone(*names: str) -> Change:
    def change(folder: Path, _: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def renamed(name: str, to: str) -> Change:
    def change(folder: Path, _: Path) -> None:
        (folder / name).rename(folder / to)

    return change


def exchanged(*names: str) -> Change:
    """These files are those of the other set."""

    def change(folder: Path, other: Path) -> None:
        for name in names:
            shutil.copy(other / name, folder / name)

    return change


def crossed(name: str, with_name: str) -> Change:
    """Two files of the set have each other's name."""

    def change(folder: Path, _: Path) -> None:
        (folder / name).rename(folder / "aside")
        (folder / with_name).rename(folder / name)
        (folder / "aside").rename(folder / with_name)

    return change


def edited(pattern: str, replacement: str, name: str = MANIFEST) -> Change:
    def change(folder: Path, _: Path) -> None:
        text = (folder / name).read_text()
        assert pattern in text
        (folder / name).write_text(text.replace(pattern, replacement, 1))

    return change


def added(name: str) -> Change:
    def change(folder: Path, _: Path) -> None:
        (folder / name).write_text("x")

    return change


def folder_in_place_of(name: str) -> Change:
    def change(folder: Path, _: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def resummed(name: str) -> Change:
    """A file was changed and its line in SHA256SUMS too, as somebody does who means well."""

    def change(folder: Path, _: Path) -> None:
        before = file_of(folder / name).sha256
        longer(name)(folder, folder)
        edited(before, file_of(folder / name).sha256, SUMS)(folder, folder)

    return change


def changes() -> Iterator[tuple[str, Change]]:
    for name in (*FILES, MANIFEST, SUMS):
        for at in (0, 0.5, 1):
            if at == 0 or name != "override":  # it has one byte
                yield f"{name}: a bit of the byte at {at}", flipped(name, at)
        yield f"{name}: a byte is missing", cut(name, 1)
        yield f"{name}: empty", cut(name, None)
        yield f"{name}: a byte more", longer(name)
        yield f"{name}: gone", gone(name)
        yield f"{name}: renamed", renamed(name, f"{name}.old")
        yield f"{name}: a folder", folder_in_place_of(name)
        yield f"{name}: of another set", exchanged(name)
    for name in FILES:
        yield f"{name}: changed with its sum", resummed(name)
        yield f"{name}: of another set, with its sums", exchanged(name, SUMS)
        yield f"{name}: of another set, with its manifest", exchanged(name, MANIFEST)
    yield "database.dump and globals.sql: crossed", crossed("database.dump", "globals.sql")
    yield "env and override: crossed", crossed("env", "override")
    yield "manifest and sums: of another set", exchanged(MANIFEST, SUMS)
    yield "manifest: other rows", edited('"rows": 50', '"rows": 49')
    yield "manifest: another digest", edited("0000000000000001", "0000000000000002")
    yield "manifest: another major", edited('"major": 18', '"major": 17')
    yield "manifest: another image", edited("sha256:1", "sha256:9")
    yield "manifest: encrypted", edited('"encrypted": null', '"encrypted": "age1x"')
    yield "sums: a line less", edited("\n", " ", SUMS)
    yield "sums: a line twice", edited("\n", "\n" + "0" * 64 + "  env\n", SUMS)
    yield "sums: a file more", edited("\n", "\n" + "0" * 64 + "  more\n", SUMS)
    yield "a file more", added("more")
    yield "manifest and sums: gone", gone(MANIFEST, SUMS)


CHANGES = dict(changes())


def test_what_was_not_changed_is_whole(copies: tuple[Path, Path]) -> None:
    for folder in copies:
        assert check(folder).project == "shop"
    (copies[0] / "verified.json").write_text("{}")
    check(copies[0])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_of_a_set_is_found(copies: tuple[Path, Path], change: Change) -> None:
    folder, other = copies
    change(folder, other)
    with pytest.raises(Damaged):
        check(folder)


def test_what_is_no_set_is_named_as_what_it_is(copies: tuple[Path, Path]) -> None:
    unfinished = copies[0].rename(copies[0].with_name("shop-prod-1.part"))
    with pytest.raises(Damaged) as found:
        check(unfinished)
    assert found.value.what == "shop-prod-1.part is unfinished"
    with pytest.raises(Damaged) as found:
        check(copies[0])
    assert found.value.what == "there is no set shop-prod-1"


def test_there_are_enough_changes() -> None:
    assert len(CHANGES) >= 100


# --- Encrypted ---


def key(path: Path) -> str:
    """A new key of age in that file; its public key."""
    made = subprocess.run(
        [needed("age-keygen"), "-o", path], capture_output=True, text=True, check=True
    )
    return made.stderr.split()[-1]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set for the key in the file `key` beside it."""
    folder = tmp_path_factory.mktemp("encrypted")
    return write_set(folder / "shop-prod-1", 1, key(folder / "key"))


def test_an_encrypted_set_shows_nothing_of_its_files_and_is_checked_without_the_key(
    encrypted: Path,
) -> None:
    assert sorted(path.name for path in encrypted.iterdir()) == sorted(
        [MANIFEST, SUMS, *(f"{name}.age" for name in FILES)]
    )
    for path in encrypted.glob("*.age"):
        assert path.read_bytes().startswith(b"age-encryption.org/v1\n")
    assert json.loads((encrypted / MANIFEST).read_text())["encrypted"].startswith("age1")
    assert check(encrypted).encrypted
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=encrypted, check=True)


def test_the_key_opens_it_and_another_one_does_not(
    encrypted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key(tmp_path / "other")
    (tmp_path / "none").write_text("AGE-SECRET-KEY-1\n")
    assert main(["check", str(encrypted), "--identity", str(encrypted.parent / "key")]) == 0
    for wrong in ("other", "none", "not there"):
        assert main(["check", str(encrypted), "--identity", str(tmp_path / wrong)]) == 1
    assert capsys.readouterr().err.count("key") >= 3


@pytest.mark.parametrize("name", [f"{name}.age" for name in FILES])
@pytest.mark.parametrize("at", [0, 0.1, 0.5, 1])
def test_each_change_of_an_encrypted_file_is_found(
    encrypted: Path, tmp_path: Path, name: str, at: float
) -> None:
    folder = Path(shutil.copytree(encrypted, tmp_path / encrypted.name))
    flipped(name, at)(folder, folder)
    with pytest.raises(Damaged, match=f"{name} was changed"):
        check(folder)


def test_without_the_program_age_no_file_is_written_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(BackupFailed, match="there is no program age"),
        Output(tmp_path, "age1x").file("env") as file,
    ):
        file.write(b"SECRET_KEY=abc")
    assert b"SECRET" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
