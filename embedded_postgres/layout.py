"""Where a cluster keeps what: one folder, half of it ours, half of it the server's.

HOME/                    0700
  lock                   one start or stop at a time
  alive                  locked by every process of the server, for as long as it lives
  owner-password         of the superuser that only this package uses, 0600
  application.json       user, database and password that the site uses, 0600
  socket-folder          the path of the socket folder, 0600
  server/                what the server's uid must reach; a link elsewhere where it cannot
    data/  data.new/     the cluster; one that is still being made
    server.log
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from .application import Application
from .errors import EmbeddedPostgresError, Misconfigured
from .privileges import Identity

# For a server with a uid of its own, below a folder (like /root) that this uid cannot enter.
REACHABLE_FOLDER = Path("/var/lib/embedded-postgres")
LONGEST_SOCKET = 100  # bytes; sun_path is 108 on Linux, 104 on macOS, with the final zero byte
LOG_LIMIT_BYTES = 5_000_000
PRIVATE = 0o700


@dataclass(frozen=True)
class Layout:
    """The paths of the cluster in `home` (absolute)."""

    home: Path

    @property
    def lock(self) -> Path:
        """The file that is locked during a start or stop."""
        return self.home / "lock"

    @property
    def alive(self) -> Path:
        """The file that every process of the server keeps locked as long as it lives."""
        return self.home / "alive"

    @property
    def server(self) -> Path:
        """The server's half, or a link to where it is."""
        return self.home / "server"

    @property
    def data(self) -> Path:
        """The data folder of a complete cluster."""
        return self.server / "data"

    @property
    def unfinished(self) -> Path:
        """The data folder while it is created."""
        return self.server / "data.new"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.server / "server.log"

    def make_home(self) -> None:
        """Create `home` if it is missing. Raises Misconfigured if that is impossible."""
        try:
            self.home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        except OSError as error:
            raise Misconfigured(
                f"The folder {self.home} cannot be created: {error.strerror}",
                "Name another one in --data, or check the disk space and the permissions there",
            ) from error

    def make_server_folder(self, identity: Identity) -> None:
        """Create the server's half, where `identity` can reach it, with a log that it can write."""
        if identity.uid is not None:
            self.home.chmod(0o711)  # our files in it stay 0600; only their names are no secret
        if not self.server.exists():
            self.server.unlink(missing_ok=True)  # a link whose target is gone
            if identity.reaches(self.home):
                self.server.mkdir()
            else:
                # A random name: data of a clone that was deleted must not come back in a new one.
                REACHABLE_FOLDER.mkdir(parents=True, exist_ok=True)
                REACHABLE_FOLDER.chmod(0o711)
                self.server.symlink_to(tempfile.mkdtemp(prefix="", dir=REACHABLE_FOLDER))
            self.server.chmod(0o711)
        # Resolved: to follow the link in our half one would have to enter that half.
        if not identity.reaches(self.server.resolve()):
            raise EmbeddedPostgresError(
                f"PostgreSQL, as uid {identity.uid}, cannot reach {self.server.resolve()}",
                "Move the clone to a folder that every user may enter, or run as an ordinary user",
            )
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        identity.give(self.log)
        if self.data.exists():
            identity.give(self.data)  # of a time when user namespaces were allowed here

    def new_owner_password(self) -> str:
        """A new random password for the superuser, which is also stored."""
        password = secrets.token_urlsafe(32)
        self.write_private(self.home / "owner-password", password)
        return password

    def owner_password(self) -> str:
        """The superuser's password. Raises EmbeddedPostgresError if somebody removed it."""
        path = self.home / "owner-password"
        try:
            return path.read_text()
        except FileNotFoundError as error:
            raise EmbeddedPostgresError(
                f"{path} is missing, and without it nobody can administer this cluster",
                "Restore the file, or move the whole folder away to start with an empty database",
            ) from error

    def remember(self, application: Application) -> None:
        """Store what a start was told, for `application`."""
        self.write_private(self.home / "application.json", json.dumps(asdict(application)))

    def application(self) -> Application | None:
        """What the last start was told; None before the first."""
        try:
            return Application(**json.loads((self.home / "application.json").read_text()))
        except FileNotFoundError:
            return None

    def make_socket_folder(self, identity: Identity, port: int) -> Path:
        """An empty folder for the server's socket, 0700, its path short enough for a socket.

        It is in the server's half where that is short enough, else in /tmp under a random name.
        """
        # What a killed server left would stop the next one, while its pid is a zombie or in use.
        self.remove_socket_folder()
        folder = self.server.resolve() / "socket"
        short = len(os.fsencode(folder / f".s.PGSQL.{port}")) <= LONGEST_SOCKET
        if short and "," not in str(folder):  # libpq takes a comma for the next host
            folder.mkdir(mode=PRIVATE, exist_ok=True)
        else:
            base = "/tmp" if os.access("/tmp", os.W_OK) else None  # noqa: S108  mkdtemp is safe
            folder = Path(tempfile.mkdtemp(prefix="pg-", dir=base))
        self.write_private(self.home / "socket-folder", str(folder))
        folder.chmod(PRIVATE)
        identity.give(folder)
        return folder

    def socket_folder(self) -> Path | None:
        """The folder of the socket since the last start; None after a stop."""
        try:
            return Path((self.home / "socket-folder").read_text())
        except FileNotFoundError:
            return None

    def remove_socket_folder(self) -> None:
        """Remove the socket folder. Only when no process of the server is alive."""
        folder = self.socket_folder()
        if folder is None:
            return
        # After a restart of the machine the random name in /tmp could be somebody else's.
        if folder.parent == self.server.resolve() or _is_private(folder, self.data):
            shutil.rmtree(folder, ignore_errors=True)
        (self.home / "socket-folder").unlink()

    def log_size(self) -> int:
        """The size of the log in bytes, to read from there later."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self, start: int = 0, lines: int = 12) -> str:
        """The last `lines` of what the server logged after byte `start`."""
        try:
            with self.log.open("rb") as log:
                log.seek(start)
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def write_private(self, path: Path, text: str) -> None:
        """Replace a file at once: mode 0600, owned like `home` even if root writes it."""
        descriptor, name = tempfile.mkstemp(dir=self.home)  # mkstemp makes it 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            owner = self.home.stat()
            if os.geteuid() == 0:
                os.chown(name, owner.st_uid, owner.st_gid)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _is_private(folder: Path, data: Path) -> bool:
    """Whether this is a folder (no link), 0700, with the same owner as the data."""
    try:
        status, owner = folder.lstat(), data.stat().st_uid
    except FileNotFoundError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and stat.S_IMODE(status.st_mode) == PRIVATE
        and status.st_uid == owner
    )
