"""As whom the server runs. PostgreSQL refuses root, and a fresh container has nobody else.

Three ways, the first that works:

- direct: we are not root.
- namespace: root, below a user namespace in which root's own uid has another number. PostgreSQL
  sees an ordinary user, the kernel sees root without its capabilities: files stay root's, a 0700
  home stays reachable for it, and nothing else on the machine changes.
- unprivileged: root where user namespaces are forbidden (Docker's default profile). The server gets
  a uid that nobody else has, and its files that owner.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import EmbeddedPostgresError, Misconfigured

RunAs = Literal["auto", "direct", "namespace", "unprivileged"]

# systemd's range for DynamicUser= (uid-range documentation of systemd): never in /etc/passwd, and
# inside the 65536 ids that a container with mapped ids has.
UNUSED_UIDS = range(61184, 65520)
STOP_SECONDS = 10.0  # for a program of ours to end after SIGTERM, before SIGKILL


@dataclass(frozen=True)
class Identity:
    """How to start programs so that PostgreSQL accepts them.

    `prefix` is put before the command. `uid` is the owner of the server's files when that is
    neither us nor root, else None; programs then run in the group of the same number.
    """

    kind: Literal["direct", "namespace", "unprivileged"]
    prefix: tuple[str, ...] = ()
    uid: int | None = None

    def run(
        self,
        command: Sequence[str],
        *,
        seconds: float,
        cwd: Path | str = "/",
        inherit: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a command to its end. Returns its exit status and everything that it printed.

        The command gets a session of its own (Ctrl-C in the terminal is for the caller alone), a
        bare environment (the caller's secrets do not concern the server), and the descriptors
        `inherit`. If the caller is interrupted, or after `seconds`, the command is stopped first.
        """
        # A file, not a pipe: the server may inherit it, and a pipe would then never end.
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            process = subprocess.Popen(
                [*self.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment if environment is not None else bare_environment()),
                pass_fds=tuple(inherit),
                start_new_session=True,
                user=self.uid,
                group=self.uid,
                extra_groups=None if self.uid is None else [],
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                _end(process)
            except BaseException:
                _end(process)
                raise
            output.seek(0)
            return process.returncode, output.read().strip()

    def reaches(self, path: Path) -> bool:
        """Whether programs that run with this identity can enter the folder `path`."""
        return self.run(["sh", "-c", 'cd -- "$1"', "sh", str(path)], seconds=10)[0] == 0

    def give(self, path: Path) -> None:
        """Make the server the owner of `path` and everything below, if that is another user."""
        if self.uid is None:
            return
        os.chown(path, self.uid, -1, follow_symlinks=False)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(Path(folder, name), self.uid, -1, follow_symlinks=False)


def choose(data: Path, run_as: RunAs = "auto") -> Identity:
    """The identity for the cluster in `data` (which may not exist yet).

    Data that exists decides: it is served as its owner. `run_as` forces a way, for the tests.
    Raises Misconfigured if the data is another user's, EmbeddedPostgresError if root has no way.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        return _as_ourselves(data, owner)
    if run_as == "direct":
        raise Misconfigured("PostgreSQL refuses to run as root", "Run as an ordinary user")
    if owner:
        return Identity("unprivileged", uid=owner)
    namespace = _namespace() if run_as != "unprivileged" else None
    if namespace:
        return namespace
    if run_as == "namespace":
        raise EmbeddedPostgresError(
            "Root may not create user namespaces here",
            "Start the container with --security-opt seccomp=unconfined, or run as an ordinary "
            "user",
        )
    return _unprivileged()


def creator(identity: Identity) -> Identity:
    """The identity for initdb, which insists on a name in /etc/passwd for the uid it runs as."""
    if identity.uid is None or _is_named(identity.uid):
        return identity
    name = _somebody()
    if name is None:
        raise EmbeddedPostgresError(
            "PostgreSQL's initdb needs a user that is not root, but /etc/passwd has none",
            "Add the user nobody to /etc/passwd, or run as an ordinary user",
        )
    return Identity("unprivileged", uid=name.pw_uid)


def bare_environment() -> dict[str, str]:
    """PATH and the folders of libraries, without PG* variables.

    Messages are not translated, since we read them.
    """
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}


def _as_ourselves(data: Path, owner: int | None) -> Identity:
    if owner is not None and owner != os.geteuid():
        raise Misconfigured(
            f"The data in {data} belongs to uid {owner}, but this is uid {os.geteuid()}",
            f"Run as that user, or give the folder to this user: sudo chown -R {os.geteuid()} "
            f"{data}",
        )
    return Identity("direct")


def _namespace() -> Identity | None:
    """Root under another number; None where the kernel or the container forbids it."""
    name = _somebody()
    if name is None:
        return None
    # initdb wants a name for its uid, hence a number that /etc/passwd knows.
    prefix = ("unshare", "--user", f"--map-user={name.pw_uid}", f"--map-group={name.pw_uid}", "--")
    identity = Identity("namespace", prefix)
    try:
        status, _ = identity.run(["true"], seconds=10)
    except FileNotFoundError:
        return None
    return identity if status == 0 else None


def _unprivileged() -> Identity:
    """A uid that is in no list and runs no process, so that nobody else can touch its files."""
    busy = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            busy.add(process.stat().st_uid)
        except FileNotFoundError:
            continue
    for uid in UNUSED_UIDS:
        if uid in busy or _is_named(uid):
            continue
        identity = Identity("unprivileged", uid=uid)
        try:
            identity.run(["true"], seconds=10)
        except (PermissionError, OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresError(
                "PostgreSQL refuses to run as root, and root here may neither create a user "
                f"namespace nor become another user ({error})",
                "Run as an ordinary user, or install Docker",
            ) from error
        return identity
    raise EmbeddedPostgresError(
        f"No uid from {UNUSED_UIDS.start} to {UNUSED_UIDS.stop - 1} is free for PostgreSQL",
        "Run as an ordinary user",
    )


def _somebody() -> pwd.struct_passwd | None:
    """Any user that is not root, nobody rather than a person."""
    others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    others.sort(key=lambda entry: entry.pw_name != "nobody")
    return others[0] if others else None


def _is_named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
