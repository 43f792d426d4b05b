"""What is done with PostgreSQL's own programs: make, launch, stop, and explain a failure."""

from __future__ import annotations

import locale
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .application import OWNER
from .binaries import Binaries
from .errors import EmbeddedPostgresError
from .layout import Layout
from .ports import LOOPBACK, holder
from .privileges import Identity, creator

INITDB_SECONDS = 180.0  # about 1 s on an SSD; a slow SD card takes a minute
START_SECONDS = 60  # pg_ctl's own default; crash recovery of a development database is shorter
STOP_FAST_SECONDS = 30  # a fast shutdown writes one checkpoint
STOP_IMMEDIATE_SECONDS = 5
PASSWORD_FILE = "password-"  # noqa: S105  the beginning of a file name
UNSAFE_IN_A_SHELL = '"$`\\\n'  # pg_ctl puts the path of `postgres` in double quotes, in sh

BUILTIN_LOCALE_MAJOR = 17  # --locale-provider=builtin came with PostgreSQL 17
# Trades safety on a power failure for speed; for databases that live as long as a test run.
# The WAL is kept small, since the files may be in memory; before PostgreSQL 15 only by this.
NOT_DURABLE = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_wal_size=256MB",
)


@dataclass(frozen=True)
class Server:
    """One cluster with the programs and the identity that serve it."""

    layout: Layout
    binaries: Binaries
    identity: Identity

    def create(self, owner_password: str, alive: int, *, durable: bool) -> None:
        """Create the cluster, under another name until it is complete.

        `alive` is the held lock that initdb inherits, so that an initdb that survives its caller is
        noticed. `durable` False skips fsync.
        """
        unfinished = self.layout.unfinished
        # What a start that was killed has left.
        shutil.rmtree(unfinished, ignore_errors=True)
        for left in self.layout.server.glob(f"{PASSWORD_FILE}*"):
            left.unlink()
        maker = creator(self.identity)
        try:
            unfinished.mkdir(mode=0o700)
            maker.give(unfinished)
            self._initdb(maker, owner_password, alive, durable=durable)
            with (unfinished / "postgresql.conf").open("a") as settings:
                settings.write("\n# Written at every start by embedded_postgres.\n")
                settings.write("include_if_exists = 'embedded.conf'\n")
                settings.flush()
                os.fsync(settings.fileno())  # as initdb did with the rest
            self.identity.give(unfinished)
            unfinished.rename(self.layout.data)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise self._explain(str(error), "The database cluster could not be created") from error
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def launch(self, port: int, socket_folder: Path, alive: int, *, durable: bool) -> None:
        """Start the server and wait until it accepts connections on 127.0.0.1:`port`.

        Every process of it inherits the held lock `alive`.
        """
        unsafe = sorted(set(UNSAFE_IN_A_SHELL) & set(str(self.binaries.folder)))
        if unsafe:
            raise EmbeddedPostgresError(
                f"pg_ctl cannot start a server from {self.binaries.folder}: the path has {unsafe}",
                "Move the clone to a folder without these characters",
            )
        self._write_settings(socket_folder, durable=durable)
        start = self.layout.log_size()
        # On the command line, where neither a file nor ALTER SYSTEM overrides it.
        options = f"-p {port} -h {LOOPBACK}"
        status, output = self.identity.run(
            self._pg_ctl("start", "-l", "../server.log", "-t", str(START_SECONDS), "-o", options),
            seconds=START_SECONDS + 10,
            cwd=self.layout.data,
            inherit=[alive],
        )
        if status != 0:
            raise self._explain(
                self.layout.log_tail(start) or output, "PostgreSQL did not start", port
            )

    def stop(self) -> bool:
        """Stop the server, first with a checkpoint, then without one.

        Returns whether it has ended. Waits at most STOP_FAST_SECONDS + STOP_IMMEDIATE_SECONDS.
        """
        for mode, seconds in (("fast", STOP_FAST_SECONDS), ("immediate", STOP_IMMEDIATE_SECONDS)):
            status, _ = self.identity.run(
                self._pg_ctl("stop", "-m", mode, "-t", str(seconds)),
                seconds=seconds + 10,
                cwd=self.layout.data,
            )
            if status == 0:
                return True
        return False

    def _pg_ctl(self, action: str, *options: str) -> list[str]:
        """pg_ctl's command, to be run in the data folder.

        The folder by its full path, so that `ps` tells whose server it is; but pg_ctl pastes that
        into a shell command, so where the path has characters that a shell reads, as ".".
        """
        folder = str(self.layout.data.resolve())
        safe = not set(UNSAFE_IN_A_SHELL) & set(folder)
        return [
            self.binaries.program("pg_ctl"),
            action,
            "-D",
            folder if safe else ".",
            "-w",
            *options,
        ]

    def _initdb(self, maker: Identity, password: str, alive: int, *, durable: bool) -> None:
        folder = self.layout.server.resolve()
        descriptor, password_file = tempfile.mkstemp(dir=folder, prefix=PASSWORD_FILE)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(password)
            maker.give(Path(password_file))
            command = [
                self.binaries.program("initdb"),
                "--pgdata=data.new",
                f"--username={OWNER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
                *locale_options(self.binaries.major),
            ]
            if not durable:
                command.append("--no-sync")
            status, output = maker.run(command, seconds=INITDB_SECONDS, cwd=folder, inherit=[alive])
        finally:
            Path(password_file).unlink()
        if status != 0:
            raise self._explain(output, "initdb could not create the database cluster")

    def _write_settings(self, socket_folder: Path, *, durable: bool) -> None:
        lines = [
            f"unix_socket_directories = {_quoted_folder(socket_folder)}",
            "unix_socket_permissions = 0700",
            "password_encryption = 'scram-sha-256'",
            # As in the Docker image.
            "timezone = 'Etc/UTC'",
            "log_timezone = 'Etc/UTC'",
        ]
        lines += [] if durable else [setting.replace("=", " = ") for setting in NOT_DURABLE]
        path = self.layout.data / "embedded.conf"
        try:
            path.write_text("\n".join(lines) + "\n")
        except OSError as error:
            raise self._explain(str(error), "The server's settings cannot be written") from error
        self.identity.give(path)

    def _explain(self, output: str, what: str, port: int | None = None) -> EmbeddedPostgresError:
        """Turn what a program printed into one clear error."""
        full = [line for line in output.splitlines() if "No space left on device" in line]
        if any("shared memory" not in line for line in full):  # that would be /dev/shm
            free = shutil.disk_usage(self.layout.server).free // 1_000_000
            return EmbeddedPostgresError(
                f"{what}: the disk that holds {self.layout.server.resolve()} is full "
                f"({free} MB free; an empty cluster needs about 60 MB)",
                "Free disk space and start again",
            )
        if port is not None and "Address already in use" in output:
            return EmbeddedPostgresError(
                f"Port {port} on {LOOPBACK} was taken by {holder(port) or 'another process'}",
                "Stop it, or set DEV_DB_PORT in .env to a free port",
            )
        return EmbeddedPostgresError(
            what, f"Read its last lines below, or the whole log in {self.layout.log}", output
        )


def locale_options(major: int) -> list[str]:
    """initdb's options for UTF-8 everywhere and the same order of text on every machine.

    Text sorts by code point. Upper and lower case follow Unicode: PostgreSQL 17 and newer contain
    its rules; older ones use the C library's C.UTF-8, which exists everywhere except on old macOS.
    """
    options = ["--locale=C"]
    for name in ("C.UTF-8", "en_US.UTF-8"):
        if _has_locale(name):
            options.append(f"--lc-ctype={name}")
            break
    if major >= BUILTIN_LOCALE_MAJOR:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options


def _has_locale(name: str) -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return True


def _quoted_folder(folder: Path) -> str:
    """A path as an element of a list, in a string of postgresql.conf: quoted twice."""
    element = '"' + str(folder).replace('"', '""') + '"'
    return "'" + element.replace("\\", "\\\\").replace("'", "''") + "'"
