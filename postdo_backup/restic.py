"""restic, which keeps copies of sets off the machine: how it is run, and what its failures mean.

Read against restic 0.14 (Debian 12) to 0.18 (Debian 13). Only from 0.17 on do its exit codes say
more than that it failed, so its messages count too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from postdo_backup.errors import BackupFailed

CONNECT_SECONDS = 10.0  # restic itself tries an address that does not answer for 15 minutes
END_SECONDS = 20.0  # in which restic takes back its lock
TRIES = 2  # of what the server refuses
AGAIN = "then run: sh run.sh backup offsite"
SFTP = re.compile(
    r"sftp:(?://(?:([^@/]+)@)?([^:/]+)(?::(\d+))?/|(?:([^@:/]+)@)?([^:/]+):).*", re.DOTALL
)


class NoRepository(BackupFailed):
    """Nobody has made a repository there yet, or it is gone."""


class Locked(BackupFailed):
    """Another restic is at work there, or was killed."""


@dataclass(frozen=True)
class Sign:
    """A failure: by which words of restic or ssh, or exit code, it is known, and what to say.

    ``final``: it does not go well later either.
    """

    pattern: str
    what: str
    next_step: str
    status: int | None = None
    kind: type[BackupFailed] = BackupFailed
    final: bool = False


# The first one that fits counts: restic asks "Is there a repository" after each failure to open it.
SIGNS = (
    Sign(
        "wrong password or no key found",
        "OFFSITE_PASSPHRASE does not open the copies at {at}",
        "set it in .env to the one with which they were begun",
        status=12,
    ),
    Sign(
        "already locked.*",
        "the copies at {at} are locked: {found}",
        "wait until that run ends; a lock that nobody renews counts no more after 30 minutes",
        status=11,
        kind=Locked,
    ),
    Sign(
        r"no space left|quota|insufficient storage|\b507\b|disk full",
        "there is no room left for the copies at {at} ({found})",
        f"make room there, or keep fewer sets; {AGAIN}",
        final=True,
    ),
    Sign(
        r"permission denied \((?:publickey|password|keyboard)",
        "{host} does not know this machine's key",
        "add it to .ssh/authorized_keys of {user} there: {key}",
    ),
    Sign(
        "host key verification failed",
        "{host} has another key than before, so it may be another machine",
        f"if it was given a new key, remove .postdo/offsite/known_hosts; {AGAIN}",
    ),
    Sign(
        "access ?denied|request signature|invalidaccesskey|signaturedoesnotmatch"
        r"|unauthorized|forbidden|\b40[13]\b",
        "the server of {at} refuses the login ({found})",
        f"correct OFFSITE_USER and OFFSITE_SECRET in .env; {AGAIN}",
        final=True,
    ),
    Sign(
        "connection refused|no route to host|no such host|network is unreachable"
        "|could not resolve|timed out|timeout",
        "no server answers at {host}, port {port} ({found})",
        f"check OFFSITE in .env, and that this machine reaches that server; {AGAIN}",
    ),
    Sign(
        "bucket does not exist|is there a repository at|repository does not exist",
        "there are no copies at {at}",
        f"check OFFSITE in .env; {AGAIN}",
        status=10,
        kind=NoRepository,
        final=True,
    ),
    Sign(
        "errors were found|contains errors",
        "the copies at {at} are damaged: {error}",
        f"keep the sets in backups/, and begin anew elsewhere: change OFFSITE in .env; {AGAIN}",
    ),
    # restic may end before it has passed on what ssh said of the reason.
    Sign(
        "unable to start the sftp session",
        "{host} does not let this machine in",
        "see that .ssh/authorized_keys of {user} there has this key: {key}",
    ),
)
UNKNOWN = Sign("", "restic failed: {error}", f"fix that; {AGAIN}")


@dataclass(frozen=True)
class Repository:
    """A repository of restic.

    - ``address``: in restic's own syntax: ``s3:``, ``sftp:``, ``rest:`` or a folder.
    - ``user``, ``secret``: the access key of S3, or the login of a REST server.
    - ``state``: our folder for its cache, our key for SFTP, and the hosts that we know.
    """

    address: str
    passphrase: str = field(repr=False)
    state: Path
    user: str = ""
    secret: str = field(default="", repr=False)

    def run(self, *arguments: str, folder: Path | None = None) -> str:
        """Run a command of restic in a folder; what it printed. Raises ``BackupFailed``."""
        try:
            return self._run(arguments, folder)
        except Locked:
            self._remove_left_locks()
            return self._run(arguments, folder)

    def read(self, *arguments: str) -> Any:
        """The same, of a command that prints JSON."""
        return json.loads(self.run(*arguments, "--json") or "null")

    def require(self) -> None:
        """See that somebody is there. Raises ``BackupFailed``."""
        if self.address.startswith("/"):
            if not Path(self.address).is_dir():
                raise BackupFailed(
                    f"there is no folder {self.address} (OFFSITE in .env)",
                    f"mount the disk that it is on, or make it: mkdir {self.address}; {AGAIN}",
                )
            return
        _, host, port = login(self.address)
        if not self._is_sftp and any(name.lower().endswith("s_proxy") for name in os.environ):
            return  # somebody else connects
        try:
            socket.create_connection((host, port), CONNECT_SECONDS).close()
        except OSError as error:
            raise self._explained(1, f"connection refused: {error}") from error

    @property
    def _is_sftp(self) -> bool:
        return self.address.startswith("sftp:")

    def _run(self, arguments: tuple[str, ...], folder: Path | None) -> str:
        print("+ restic", *arguments, file=sys.stderr, flush=True)
        process = subprocess.Popen(
            ["restic", *self._options(), *arguments],
            cwd=folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        errors: list[str] = []
        listener = threading.Thread(target=self._listen, args=(process, errors))
        listener.start()
        try:
            assert process.stdout is not None  # noqa: S101  it was asked for
            output = process.stdout.read()
            process.wait()
        except BaseException:
            process.terminate()  # restic takes back its lock
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            process.kill()
            raise
        finally:
            listener.join()
        if process.returncode != 0:
            raise self._explained(process.returncode, "".join(errors) + output)
        return output

    def _listen(self, process: subprocess.Popen[str], errors: list[str]) -> None:
        """Collect what restic says, and end it if it tries what will never go well.

        By itself it tries for 15 minutes, whatever the reason.
        """
        assert process.stderr is not None  # noqa: S101  it was asked for
        tries = 0
        for said in process.stderr:
            errors.append(self._without_secrets(said))
            print(errors[-1], end="", file=sys.stderr, flush=True)
            if "retrying after" in said and _sign_of(0, said)[0].final:
                tries += 1
                if tries == TRIES:
                    process.terminate()

    def _options(self) -> list[str]:
        if not self._is_sftp:
            return []
        user, host, port = login(self.address)
        command = [
            *("ssh", "-i", str(self.key()), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={self.state / 'known_hosts'}"),
            *(
                "-o",
                "StrictHostKeyChecking=accept-new",
                "-o",
                f"ConnectTimeout={CONNECT_SECONDS:.0f}",
            ),
            *("-o", "ServerAliveInterval=60", "-p", str(port)),
            *(f"{user}@{host}" if user else host, "-s", "sftp"),
        ]
        return ["-o", f"sftp.command={shlex.join(command)}"]

    def key(self) -> Path:
        """Our key for SFTP, which is made if there is none."""
        path = self.state / "id_ed25519"
        if not path.exists():
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "backups", "-f", str(path)]
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
        return path

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OFFSITE")}
        own = {
            "RESTIC_REPOSITORY": self._address_with_login(),
            "RESTIC_PASSWORD": self.passphrase,
            "RESTIC_CACHE_DIR": str(self.state / "cache"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",  # of --time
        }
        if self.address.startswith("s3:") and self.user:
            own |= {"AWS_ACCESS_KEY_ID": self.user, "AWS_SECRET_ACCESS_KEY": self.secret}
        return {**kept, **own}

    def _address_with_login(self) -> str:
        if not (self.address.startswith("rest:") and self.user):
            return self.address
        scheme, _, rest = self.address.removeprefix("rest:").partition("://")
        return f"rest:{scheme}://{quote(self.user, safe='')}:{quote(self.secret, safe='')}@{rest}"

    def _without_secrets(self, text: str) -> str:
        for secret in (self.passphrase, self.secret, quote(self.secret, safe="")):
            if secret:
                text = text.replace(secret, "***")
        return text

    def _explained(self, status: int, said: str) -> BackupFailed:
        """What went wrong and what to do about it."""
        sign, found = _sign_of(status, said)
        user, host, port = login(self.address)
        values = {"at": self.address, "found": found, "host": host, "port": port, "said": said}
        values |= {"user": user or "the user", "error": _first_error(said)}
        if "{key}" in sign.next_step:
            values["key"] = self.key().with_suffix(".pub").read_text(encoding="utf-8").strip()
        return sign.kind(sign.what.format_map(values), sign.next_step.format_map(values))

    def _remove_left_locks(self) -> None:
        """Remove locks of a restic of ours that was killed; those of other machines stay.

        Nobody but us makes one in our name (the caller has the lock of this clone), and restic
        itself removes what nobody has renewed for 30 minutes.
        """
        self._run(("unlock",), None)
        owners = [
            self._owner(lock) for lock in self._run(("list", "locks", "--no-lock"), None).split()
        ]
        if owners and set(owners) == {socket.gethostname()}:
            self._run(("unlock", "--remove-all"), None)

    def _owner(self, lock: str) -> str:
        found = json.loads(self._run(("cat", "lock", lock, "--no-lock"), None))
        return str(found.get("hostname", ""))


def _sign_of(status: int, said: str) -> tuple[Sign, str]:
    """The first sign that fits, and the words that it was found by."""
    for sign in SIGNS:
        if found := re.search(sign.pattern, said, re.IGNORECASE):
            return sign, found[0]
        if status == sign.status:
            return sign, ""
    return UNKNOWN, ""


def _first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(?i)(fatal|error)\b", line)] or lines[-1:]
    return re.sub(r"(?i)^(fatal|error):? *", "", telling[0]) if telling else "without a word"


def login(address: str) -> tuple[str, str, int]:
    """User (may be empty), host and port of a server; nothing of a folder."""
    if address.startswith("sftp:"):
        found = SFTP.fullmatch(address)
        if found is None:
            raise BackupFailed(f"OFFSITE in .env is {address}", "write it as sftp:USER@HOST:/PATH")
        return found[1] or found[4] or "", found[2] or found[5], int(found[3] or 22)
    text = address.partition(":")[2]
    url = urlsplit(text if "://" in text else f"https://{text}")
    return "", url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
