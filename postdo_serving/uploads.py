"""The temporary files of Django's uploads: none stays when its request or its process has ended.

Django closes the files of a request that went well. When parsing breaks off (a disk that is full, a
part that is malformed), or a view parses by itself, an unfinished file hangs in a cycle of the
request and its upload handlers, and keeps its disk until Python happens to collect that. And a
process that is killed leaves all its files behind, since Django gives them names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from postdo_serving import bodies

PREFIX = "uploads-of-"

# The uploads of the request that is being answered. (A context reaches async views; a thread local
# would not.)
_files: ContextVar[list[weakref.ref[Any]] | None] = ContextVar("_files", default=None)


@contextlib.contextmanager
def closed_at_the_end() -> Iterator[None]:
    """Close what the request has left open when the block ends, whoever still refers to it."""
    files: list[weakref.ref[Any]] = []
    token = _files.set(files)
    try:
        yield
    finally:
        _files.reset(token)
        for reference in files:
            file = reference()
            if file is not None:
                with contextlib.suppress(OSError):  # it was full; the file is gone all the same
                    file.close()


def use_own_folder() -> str:
    """Keep track of uploads in a worker with Django, in a folder of this process.

    A folder that the project chose is left to it: other containers may use it too, with processes
    of the same numbers. Returns why there is no folder of ours; otherwise an empty string.
    """
    settings = _django_settings()
    if settings is None:
        return ""
    if settings.FILE_UPLOAD_TEMP_DIR:
        _keep_track()
        return ""
    folder = folder_of(os.getpid())
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        return str(error)
    settings.FILE_UPLOAD_TEMP_DIR = str(folder)
    _keep_track()
    return ""


def folder_of(pid: int) -> Path:
    """Return the folder of a worker, in this container's own folder for uploads."""
    return Path(bodies.folder(os.environ)) / f"{PREFIX}{pid}"


def remove_folder_of(pid: int) -> None:
    """Remove the files of a worker that has ended."""
    shutil.rmtree(folder_of(pid), ignore_errors=True)


def remove_left_folders() -> None:
    """Remove the folders of processes that no longer exist, such as those of a killed container."""
    for folder in Path(bodies.folder(os.environ)).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX)
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _django_settings() -> Any:
    """Return Django's settings, if this process has any."""
    conf = sys.modules.get("django.conf")
    return conf.settings if conf is not None and conf.settings.configured else None


def _keep_track() -> None:
    """Have each temporary upload tell the request that it belongs to."""
    from django.core.files.uploadedfile import TemporaryUploadedFile  # noqa: PLC0415

    make = TemporaryUploadedFile.__init__

    def make_and_tell(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        files = _files.get()
        if files is not None:
            files.append(weakref.ref(self))

    TemporaryUploadedFile.__init__ = make_and_tell  # type: ignore[method-assign]
