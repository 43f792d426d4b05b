"""See, and change, the connections that a project opens with the driver itself.

``psycopg`` (3.1 to 3.3) and ``psycopg2`` have one function, ``connect``, that nearly all code uses.
It is wrapped, so that a callback can inspect the address and add settings. Django's own connections
are left alone. Code that creates the C objects of the driver directly is not seen.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest.mock import patch

from django.db.backends.base.base import BaseDatabaseWrapper

# Given libpq's parameters, the ones to add or to replace. May raise, and then nothing is opened.
Look = Callable[[dict[str, str]], Mapping[str, str]]

_at_work = threading.local()  # whether Django is connecting, in this thread


def look_at(look: Look) -> Callable[[], None]:
    """Call ``look`` before each connection that is opened with psycopg2 or psycopg itself.

    It gets libpq's parameters and returns the ones to add or replace; if it raises, nothing is
    opened. Connections of Django's backends are not affected. Returns a function that stops this.
    """
    stack = ExitStack()
    # Not all are installed, and not all of those can find their library.
    for driver, watch in (("psycopg2", _psycopg2), ("psycopg", _psycopg)):
        with suppress(ImportError):
            watch(stack, importlib.import_module(driver), look)
    once: Any = BaseDatabaseWrapper.connect

    def connect(wrapper: BaseDatabaseWrapper) -> None:
        with _django_at_work():
            once(wrapper)

    stack.enter_context(patch.object(BaseDatabaseWrapper, "connect", connect))
    return stack.close


def name_in(parameters: Mapping[str, str]) -> str:
    """The database that libpq would connect to; empty if a service file decides."""
    told = parameters.get("dbname") or os.environ.get("PGDATABASE")
    if told or parameters.get("service") or os.environ.get("PGSERVICE"):
        return told or ""
    return parameters.get("user") or os.environ.get("PGUSER", "")


def with_settings(parameters: Mapping[str, str], **settings: str) -> dict[str, str]:
    """Connection parameters that give the session these settings, in addition to its own."""
    usual = parameters.get("options") or os.environ.get("PGOPTIONS", "")
    ours = (f"-c {name}={value}" for name, value in settings.items())
    return {"options": " ".join((usual, *ours)).strip()}


@contextmanager
def _django_at_work() -> Iterator[None]:
    before = getattr(_at_work, "connecting", False)
    _at_work.connecting = True
    try:
        yield
    finally:
        _at_work.connecting = before


def _asked(look: Look, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    if getattr(_at_work, "connecting", False):
        return {}
    return look({key: str(value) for key, value in parameters.items() if value is not None})


def _psycopg2(stack: ExitStack, driver: Any, look: Look) -> None:
    extensions: Any = importlib.import_module("psycopg2.extensions")
    once = driver._connect  # what psycopg2.connect calls, wherever that was imported

    def connect(dsn: str, *args: Any, **options: Any) -> Any:
        more = _asked(look, extensions.parse_dsn(dsn))
        return once(extensions.make_dsn(dsn, **more), *args, **options)

    stack.enter_context(patch.object(driver, "_connect", connect))


def _psycopg(stack: ExitStack, driver: Any, look: Look) -> None:
    # Where a subclass of a connection may change the parameters; ``connect`` itself may have been
    # imported by now.
    hook = "_get_connection_params"
    once = getattr(driver.Connection, hook).__func__
    once_async = getattr(driver.AsyncConnection, hook).__func__

    def parameters(cls: Any, *args: Any, **options: Any) -> dict[str, Any]:
        found = once(cls, *args, **options)
        return {**found, **_asked(look, found)}

    async def parameters_async(cls: Any, *args: Any, **options: Any) -> dict[str, Any]:
        found = await once_async(cls, *args, **options)
        return {**found, **_asked(look, found)}

    stack.enter_context(patch.object(driver.Connection, hook, classmethod(parameters)))
    stack.enter_context(patch.object(driver.AsyncConnection, hook, classmethod(parameters_async)))
