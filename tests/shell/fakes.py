"""Programs that only say what a real one would: for what cannot be had on a machine of tests."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

# One run of run.sh calls it forty times, so its answers stand in the script itself: it starts no
# other program, and reads no other file.
FAKE_DOCKER = r"""#!/bin/sh
# A fake docker: notes how it was called, and gives the newest answer whose pattern fits.
here=${0%/*}
printf '%s\n' "$*" >>"$here/calls"
write_result() { # write_result TEXT ARGUMENTS...: where the container would
    text=$1
    shift
    for word; do
        case $word in
        *:/result) folder=${word%:/result} ;;
        POSTDO_RESULT=/result/*) printf %s "$text" >"$folder/${word##*/}" ;;
        esac
    done
}
# The newest answer first:
"""

FAKE_GETENT = r"""#!/bin/sh
# A fake getent: knows the addresses of the names in `names`, and of no others.
awk -v name="$2" '
    $1 == name { print $2 "  STREAM"; print $2 "  DGRAM"; found = 1 }
    END { exit found ? 0 : 2 }' "${0%/*}/names"
"""

FAKE_IP = r"""#!/bin/sh
# A fake ip: this machine has the addresses in `own`.
awk '{ print NR ": eth0    inet " $1 "/24 scope global eth0" }' "${0%/*}/own"
"""

# Of www.shop.example, by itself, until 2126.
FAKE_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBjTCCATOgAwIBAgIUG66MwR1vH3/gL5t2I0rBgZIlScowCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQd3d3LnNob3AuZXhhbXBsZTAgFw0yNjExMjkyMzI2MDdaGA8y
MTI2MTEwNTIzMjYwN1owGzEZMBcGA1UEAwwQd3d3LnNob3AuZXhhbXBsZTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABIwG8dIG6pJzG2B574SSvXxmXOvbw3bN0v9C
q0PJZgPJVgqHGQu25GC2u+0IlsK9uLuNye2At5Xs0IB+pIBynUSjUzBRMB0GA1Ud
DgQWBBSWMoNlJXVUCOc+dsxxm4Kh7fLHBzAfBgNVHSMEGDAWgBSWMoNlJXVUCOc+
dsxxm4Kh7fLHBzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCM
ihzKDbNVn6bQmsYmFuqldFbkG8Ok/7v916Zwm7L6RQIgQLKZ60xpPk4FvnMg/aPL
8nX/UfGkqvqys0ga9V+T7pI=
-----END CERTIFICATE-----
"""

FAKE_PYTHON = r"""#!/bin/sh
# A fake Python: knows its version, and whether it has the modules for virtual environments.
case $1 in
-V) echo "Python VERSION" ;;
-c) exit HAS_VENV ;;
*) echo "a fake Python was to run $*"; exit 1 ;;
esac
"""


# The states of containers as `docker ps` tells them, as far as lib/compose.sh reads that.
LISTED = {
    "starting": "running Up (health: starting)",
    "running": "running Up",
    "restarting": "restarting Restarting",
    "stopped": "exited Exited (0)",
}


class FakeDocker:
    """A folder for the PATH with a `docker` that has no engine; says that it is new and at rest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, str] = {}  # the containers, as `docker ps` lists them
        folder.mkdir(parents=True)
        (folder / "calls").touch()
        _write_program(folder / "docker", FAKE_DOCKER)
        self.answer("version --format*", out="28.2.2")
        self.answer("compose version --short", out="2.30.0")
        self.answer("volume inspect*", status=1)

    def answer(
        self,
        words: str,
        *,
        out: str = "",
        err: str = "",
        status: int = 0,
        hangs: bool = False,
        result: str = "",
        loses_first: bool = False,
    ) -> None:
        """From now on answer calls that fit a shell pattern so.

        `hangs`: and never end. `result`: what stands in the result file, as postdo writes it.
        `loses_first`: what the first of these calls says does not arrive.
        """
        lost = quote(str(self.folder / "lost"))
        done = [f"[ -e {lost} ] || {{ : >{lost} && exit; }}"] if loses_first else []
        done += [f"printf '%s\\n' {quote(out)}"] if out else []
        done += [f"printf '%s\\n' {quote(err)} >&2"] if err else []
        done += [f'write_result {quote(result + chr(10))} "$@"'] if result else []
        done += ["exec sleep 600" if hangs else f"exit {status}"]
        # In a variable: there a space or a bracket of the pattern is no word of the shell.
        script = [f"pattern={quote(words)}", "case $* in $pattern)", *done, ";; esac", ""]
        # Whole at once: it may be called meanwhile. Not anew: a test may have changed the rest.
        program, new = self.folder / "docker", self.folder / "docker.new"
        head, mark, others = program.read_text().partition("# The newest answer first:\n")
        _write_program(new, head + mark + "\n".join(script) + others)
        new.rename(program)

    def has_container(self, service: str, state: str = "healthy") -> None:
        """From now on there is a container of a service, and it is in that state."""
        self._listed[service] = (
            f"{service} id-{service} {LISTED.get(state, f'running Up ({state})')}"
        )
        of_service = f"*com.docker.compose.service={service} *"
        self.answer(f"ps -aq {of_service}", out=f"id-{service}")
        for mode in ("prod", "dev"):
            of_all = f"*-{mode} --filter label=com.docker.compose.oneoff=*"
            self.answer(f"ps -a --no-trunc {of_all}", out="\n".join(self._listed.values()))
        self.answer(f"ps -a --no-trunc {of_service}", out=self._listed[service])

    def calls(self) -> list[str]:
        """What it was called with, in order."""
        return (self.folder / "calls").read_text().splitlines()

    def compose_calls(self) -> list[str]:
        """The Compose commands among the calls, from the command's own word on."""
        calls = [call for call in self.calls() if call.startswith("compose --project-directory")]
        return [call.split(".yml ")[-1] for call in calls]


def fake_network(folder: Path, own: list[str], names: dict[str, list[str]]) -> Path:
    """A folder for the PATH: this machine has these addresses, and the DNS knows these names."""
    folder.mkdir()
    (folder / "own").write_text("".join(f"{address}\n" for address in own))
    known = [f"{name} {address}\n" for name, found in names.items() for address in found]
    (folder / "names").write_text("".join(known))
    _write_program(folder / "getent", FAKE_GETENT)
    _write_program(folder / "ip", FAKE_IP)
    return folder


def fake_python(folder: Path, name: str, version: str, *, has_venv: bool = True) -> Path:
    """A folder for the PATH with a fake Python of that name and version."""
    folder.mkdir(exist_ok=True)
    text = FAKE_PYTHON.replace("VERSION", version).replace("HAS_VENV", "0" if has_venv else "1")
    _write_program(folder / name, text)
    return folder


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
