"""The files as a migration sees them while it is rehearsed: the real ones, and its changes aside.

What it reads is what is there. What it writes, renames or removes by Python's own functions
(``os``, ``open``, ``pathlib``, ``shutil``, Django's storages) is done in a folder of ours, and seen
by what it reads afterwards. Where a path leads is kept in a table; a path without an entry, and
whose folders have none, leads to itself. ``os.path`` and not ``Path``, which asks the very
functions that are replaced.

What does not come by here (a link that is made, a function that was imported by its own name
before, a library in C) is refused by ``sandbox`` and by the kernel.
"""

from __future__ import annotations

import builtins
import errno
import glob
import io
import os
import pathlib
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Devices and what belongs to processes: the kernel decides.
SYSTEM = ("/dev/", "/proc/", "/sys/")
# Functions of ``os`` that only look; the path comes first.
LOOKING = ("stat", "lstat", "access", "readlink", "statvfs", "getxattr", "listxattr", "chdir")
# Those that change a file that is there, not what is in it.
MARKING = ("chmod", "lchmod", "chown", "lchown", "utime", "setxattr", "removexattr")
NOT_FOLLOWING = frozenset({"lstat", "readlink", "lchmod", "lchown"})

Real = Any  # a function of ``os`` as it was
# Python 3.10's, and that of 3.13 and newer.
HOLDERS = [
    getattr(module, name)
    for module, name in ((pathlib, "_NormalAccessor"), (glob, "_StringGlobber"))
    if hasattr(module, name)
]


class SideFiles:
    """``folder``: our own, which is left alone. ``changed``: is told of changes elsewhere."""

    def __init__(self, folder: str, changed: Callable[..., None]) -> None:
        self._own = os.path.realpath(folder)
        self._side = os.path.join(self._own, "side")
        self._changed = changed
        self._entries: dict[str, str | None] = {}  # None: removed
        self._folders: dict[int, str] = {}  # open descriptors of folders
        self._others: dict[int, str] = {}  # the same of folders that are left alone
        self._made = 0
        self._thread = threading.local()  # ``real``: whether the files as they are are meant
        self._real: dict[str, Real] = {
            name: getattr(os, name)
            for name in (
                *LOOKING,
                *MARKING,
                *("open", "close", "listdir", "scandir", "rename", "replace", "remove", "unlink"),
                *("rmdir", "mkdir"),
            )
            if hasattr(os, name)
        }
        self._open: Any = builtins.open
        self._real["mkdir"](self._side)

    def install(self) -> None:
        """Redirect Python's file functions, from now on and for this whole process."""
        ours: dict[str, Callable[..., Any]] = {
            **{name: self._looking(name) for name in LOOKING if name in self._real},
            **{name: self._marking(name) for name in MARKING if name in self._real},
            **dict.fromkeys(("rename", "replace"), self._renaming),
            **dict.fromkeys(("remove", "unlink"), self._removing),
            "open": self._opening_descriptor,
            "close": self._closing,
            "listdir": self._listing,
            "scandir": self._scanning,
            "rmdir": self._removing_folder,
            "mkdir": self._making_folder,
        }
        for name, method in ours.items():
            function = _named(method, name)
            setattr(os, name, function)
            for supports in ("dir_fd", "effective_ids", "fd", "follow_symlinks"):
                known: set[Any] = getattr(os, f"supports_{supports}")
                if self._real[name] in known:
                    known.add(function)
            _replace_where_kept(self._real[name], function)
        opening = _named(self._opening, "open")
        builtins.open = io.open = opening
        _replace_where_kept(self._open, opening)

    # --- Where a path leads -----------------------------------------------------------------------

    def _place(self, path: Any, dir_fd: int | None = None, *, follow: bool) -> str | None:
        """The path as we keep it: absolute, without links but the last one; None if not ours."""
        if isinstance(path, int):
            return self._folders.get(path)
        text = os.fsdecode(self._whole(path, dir_fd))
        if not text:
            return None
        whole = self._seen(os.path.normpath(os.path.join(self._seen(os.getcwd()), text)))
        parent, name = os.path.split(whole)
        found = os.path.join(self._resolved(parent), name)
        if follow and self._target(found) == found:
            found = self._resolved(found)
        inside = found == self._own or found.startswith(self._own + "/")
        return None if inside or found.startswith(SYSTEM) else found

    def _whole(self, path: Any, dir_fd: int | None) -> Any:
        """The path without ``dir_fd``."""
        if dir_fd is None or os.path.isabs(path):
            return path
        base = self._folders.get(dir_fd) or self._others.get(dir_fd)
        base = base or self._real["readlink"](f"/proc/self/fd/{dir_fd}")
        return os.path.join(base, os.fsdecode(path))

    def _resolved(self, path: str) -> str:
        """``realpath`` of the files as they are, by the functions as they were."""
        self._thread.real = True
        try:
            return os.path.realpath(path)
        finally:
            self._thread.real = False

    def _seen(self, path: str) -> str:
        """The path as the migration sees it, for one that is in our folder by now."""
        if path.startswith(self._side + "/"):
            for place, target in self._entries.items():
                if target and (path == target or path.startswith(target + "/")):
                    return place + path[len(target) :]
        return path

    def _target(self, place: str) -> str | None:
        """Where it really is; None if it was removed."""
        above = place
        while above not in self._entries:
            upper = os.path.dirname(above)
            if upper == above:
                return place
            above = upper
        target = self._entries[above]
        return None if target is None else target + place[len(above) :]

    def _status(self, place: str) -> os.stat_result | None:
        """Of what is there, without following a link; None if nothing is."""
        target = self._target(place)
        with suppress(FileNotFoundError, NotADirectoryError):
            return None if target is None else self._real["lstat"](target)
        return None

    def _require(self, place: str) -> os.stat_result:
        found = self._status(place)
        if found is None:
            raise _error(errno.ENOENT, place)
        return found

    def _require_room(self, place: str) -> None:
        """That something can be made or removed in its folder, as it would have to be."""
        parent = os.path.dirname(place)
        target = self._target(parent)
        if target is None:
            raise _error(errno.ENOENT, place)
        if not stat.S_ISDIR(self._real["stat"](target).st_mode):
            raise _error(errno.ENOTDIR, place)
        if not self._real["access"](target, os.W_OK | os.X_OK):
            raise _error(errno.EACCES, place)

    def _new(self, place: str) -> str:
        """A path for it in our folder."""
        self._made += 1
        # A child that a migration forks has a table of its own from then on.
        folder = os.path.join(self._side, f"{os.getpid()}-{self._made}")
        self._real["mkdir"](folder)
        return os.path.join(folder, os.path.basename(place))

    def _is_aside(self, target: str) -> bool:
        return target.startswith(self._side + "/")

    def _below(self, place: str) -> dict[str, str | None]:
        return {one: to for one, to in self._entries.items() if one.startswith(place + "/")}

    def _names(self, place: str) -> list[str]:
        target = self._target(place)
        if target is None:
            raise _error(errno.ENOENT, place)
        names = dict.fromkeys(self._real["listdir"](target))
        for one, to in self._entries.items():
            if os.path.dirname(one) == place:
                names.pop(os.path.basename(one), None)
                if to is not None:
                    names[os.path.basename(one)] = None
        return list(names)

    # --- Looking ----------------------------------------------------------------------------------

    def _looking(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def look(path: Any, *args: Any, dir_fd: int | None = None, **options: Any) -> Any:
            if dir_fd is not None:
                options["dir_fd"] = dir_fd
            if not self._entries or isinstance(path, int) or getattr(self._thread, "real", False):
                return real(path, *args, **options)
            follow = name not in NOT_FOLLOWING and options.get("follow_symlinks", True)
            place = self._place(path, dir_fd, follow=follow)
            if place is None:
                return real(path, *args, **options)
            target = self._target(place)
            if target is None:
                if name == "access":
                    return False
                raise _error(errno.ENOENT, path)
            options.pop("dir_fd", None)
            return real(target, *args, **options)

        return look

    def _listing(self, path: Any = ".") -> Any:
        place = self._place(path, follow=True) if self._entries else None
        if place is None:
            return self._real["listdir"](path)
        names = self._names(place)
        return [os.fsencode(name) for name in names] if isinstance(path, bytes) else names

    def _scanning(self, path: Any = ".") -> Any:
        place = self._place(path, follow=True) if self._entries else None
        if place is None or isinstance(path, bytes):
            return self._real["scandir"](path)
        given = "" if isinstance(path, int) else os.fspath(path)
        return _Scan(_Entry(name, os.path.join(given, name), place) for name in self._names(place))

    # --- Opening ----------------------------------------------------------------------------------

    def _opening(self, file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        opener = args[5] if len(args) > 5 else options.get("opener")  # noqa: PLR2004  its place
        writes = not set("wax+").isdisjoint(mode)
        if isinstance(file, int) or not (writes or self._entries or opener):
            return self._open(file, mode, *args, **options)

        def aside(path: str, flags: int) -> int:
            self._thread.opening = False
            if opener is not None:
                return int(opener(path, flags))
            return int(self._opening_descriptor(path, flags, 0o666))

        # By an opener, so that the name of the file is the one that was asked for.
        self._thread.opening = True
        try:
            return self._open(file, mode, *args[:5], **{**options, "opener": aside})
        finally:
            self._thread.opening = False

    def is_opening(self) -> bool:
        """Whether ``open`` is redirecting a file right now.

        The path that the audit hook then sees is not the one that is opened; it is asked about
        later.
        """
        return bool(getattr(self._thread, "opening", False))

    def _opening_descriptor(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        place = self._place(path, dir_fd, follow=not flags & getattr(os, "O_NOFOLLOW", 0))
        if place is None:
            whole = self._whole(path, dir_fd)
            descriptor = int(self._real["open"](whole, flags, mode))
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                self._others[descriptor] = os.path.abspath(os.fsdecode(whole))
            return descriptor
        if flags & WRITING:
            target = self._to_write(place, flags)
        else:
            found = self._target(place)
            if found is None:
                raise _error(errno.ENOENT, path)
            target = found
        descriptor = int(self._real["open"](target, flags, mode))
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._folders[descriptor] = place
        return descriptor

    def _closing(self, descriptor: int) -> None:
        self._folders.pop(descriptor, None)
        self._others.pop(descriptor, None)
        self._real["close"](descriptor)

    def _to_write(self, place: str, flags: int) -> str:
        """A path in our folder to open for writing, with what is there by now."""
        status = self._status(place)
        target = self._target(place)
        if status is None or target is None:
            if not flags & os.O_CREAT:
                raise _error(errno.ENOENT, place)
            self._require_room(place)
            target = self._entries[place] = self._new(place)
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise _error(errno.EEXIST, place)
        elif stat.S_ISDIR(status.st_mode):
            raise _error(errno.EISDIR, place)
        else:
            target = self._copied(place, target, keep=not flags & os.O_TRUNC)
        self._changed("written", place)
        return target

    def _copied(self, place: str, target: str, *, keep: bool = True) -> str:
        """The file in our folder, copied there if it was not yet."""
        if self._is_aside(target):
            return target
        if not self._real["access"](target, os.W_OK):
            raise _error(errno.EACCES, place)
        new = self._new(place)
        with self._open(new, "wb") as copy:
            if keep:
                with self._open(target, "rb") as original:
                    shutil.copyfileobj(original, copy)
        self._real["chmod"](new, stat.S_IMODE(self._real["stat"](target).st_mode) | stat.S_IWUSR)
        self._entries[place] = new
        return new

    # --- Changing ---------------------------------------------------------------------------------

    def _renaming(
        self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        here = self._place(src, src_dir_fd, follow=False)
        there = self._place(dst, dst_dir_fd, follow=False)
        if here is None and there is None:
            self._real["rename"](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        elif here is None:
            self._brought(src, str(there))
        elif there is None:
            # Into our own folder, which nobody but this migration sees.
            self._require_room(here)
            self._require(here)
            shutil.copy2(here, dst)
            self._gone(here)
            self._changed("removed", here)
        else:
            self._moved(here, there)

    def _brought(self, source: Any, there: str) -> None:
        """From our own folder, such as a temporary file that is to take a file's place."""
        status = self._real["lstat"](source)
        self._make_way(there, folder=stat.S_ISDIR(status.st_mode))
        new = self._new(there)
        self._real["rename"](source, new)
        self._forget_below(there)
        self._entries[there] = new
        self._changed("written", there)

    def _moved(self, here: str, there: str) -> None:
        status = self._require(here)
        target = self._target(here)
        if here == there:
            return
        self._require_room(here)
        self._make_way(there, folder=stat.S_ISDIR(status.st_mode))
        if there.startswith(here + "/"):
            raise _error(errno.EINVAL, here, there)
        parent = self._target(os.path.dirname(there))
        both_real = parent and not self._is_aside(parent) and not self._is_aside(str(target))
        if both_real and self._real["stat"](parent).st_dev != status.st_dev:
            raise _error(errno.EXDEV, here, there)
        below = self._below(here)
        self._gone(here)
        self._forget_below(there)
        self._entries[there] = target
        self._entries.update({there + one[len(here) :]: to for one, to in below.items()})
        self._changed("renamed", here, there)

    def _make_way(self, there: str, *, folder: bool) -> None:
        """That something can be renamed to this, as the kernel has it."""
        self._require_room(there)
        status = self._status(there)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            if not folder:
                raise _error(errno.EISDIR, there)
            if self._names(there):
                raise _error(errno.ENOTEMPTY, there)
        elif folder:
            raise _error(errno.ENOTDIR, there)

    def _gone(self, place: str) -> None:
        self._forget_below(place)
        self._entries[place] = None

    def _forget_below(self, place: str) -> None:
        for one in self._below(place):
            del self._entries[one]

    def _removing(self, path: Any, *, dir_fd: int | None = None) -> None:
        place = self._place(path, dir_fd, follow=False)
        if place is None:
            self._real["remove"](path, dir_fd=dir_fd)
            return
        if stat.S_ISDIR(self._require(place).st_mode):
            raise _error(errno.EISDIR, path)
        self._require_room(place)
        self._gone(place)
        self._changed("removed", place)

    def _removing_folder(self, path: Any, *, dir_fd: int | None = None) -> None:
        place = self._place(path, dir_fd, follow=False)
        if place is None:
            self._real["rmdir"](path, dir_fd=dir_fd)
            return
        if not stat.S_ISDIR(self._require(place).st_mode):
            raise _error(errno.ENOTDIR, path)
        if self._names(place):
            raise _error(errno.ENOTEMPTY, path)
        self._require_room(place)
        self._gone(place)
        self._changed("removed", place)

    def _making_folder(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        place = self._place(path, dir_fd, follow=False)
        if place is None:
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            return
        if self._status(place) is not None:
            raise _error(errno.EEXIST, path)
        self._require_room(place)
        new = self._new(place)
        self._real["mkdir"](new, mode)
        self._entries[place] = new
        self._changed("made", place)

    def _marking(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def mark(path: Any, *args: Any, dir_fd: int | None = None, **options: Any) -> Any:
            if dir_fd is not None:
                options["dir_fd"] = dir_fd
            follow = name not in NOT_FOLLOWING and options.get("follow_symlinks", True)
            # An open file that was opened for writing is one of ours.
            place = None if isinstance(path, int) else self._place(path, dir_fd, follow=follow)
            if place is None:
                return real(path, *args, **options)
            status = self._require(place)
            target = str(self._target(place))
            if self._is_aside(target) and name not in ("chown", "lchown"):
                options.pop("dir_fd", None)
                return real(target, *args, **options)
            if status.st_uid != os.geteuid() and os.geteuid() != 0:
                raise _error(errno.EPERM, path)
            self._changed("marked", place)
            return None

        return mark


class _Entry:
    """One of a folder, as ``os.scandir`` gives it."""

    def __init__(self, name: str, path: str, folder: str) -> None:
        self.name = name
        self.path = path
        self._whole = os.path.join(folder, name)

    def __fspath__(self) -> str:
        return self.path

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Asked each time."""
        return os.stat(self._whole, follow_symlinks=follow_symlinks)

    def inode(self) -> int:
        """Its number in the file system."""
        return self.stat(follow_symlinks=False).st_ino

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """As ``os.DirEntry`` has it, and so below."""
        return self._is(stat.S_ISDIR, follow=follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """A regular one."""
        return self._is(stat.S_ISREG, follow=follow_symlinks)

    def is_symlink(self) -> bool:
        """Whatever it leads to."""
        return self._is(stat.S_ISLNK, follow=False)

    def is_junction(self) -> bool:
        """Only Windows has them."""
        return False

    def _is(self, kind: Callable[[int], bool], *, follow: bool) -> bool:
        with suppress(FileNotFoundError):
            return kind(self.stat(follow_symlinks=follow).st_mode)
        return False


class _Scan:
    """What ``os.scandir`` returns: an iterator that can be closed."""

    def __init__(self, entries: Iterator[_Entry]) -> None:
        self._entries = entries

    def __iter__(self) -> _Scan:
        return self

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> _Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""
        self._entries = iter(())


def _replace_where_kept(real: Real, function: Callable[..., Any]) -> None:
    """In the classes that have taken a function of ``os`` for their own."""
    for holder in HOLDERS:
        for name, value in tuple(vars(holder).items()):
            if getattr(value, "__func__", value) is real:
                setattr(holder, name, staticmethod(function))


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A plain function of this name: a method would be bound anew where a class holds it."""

    def plain(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    plain.__name__ = plain.__qualname__ = name
    return plain


def _error(number: int, path: Any, other: Any = None) -> OSError:
    if other is None:
        return OSError(number, os.strerror(number), path)
    return OSError(number, os.strerror(number), path, None, other)
