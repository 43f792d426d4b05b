"""A psycopg2 connection whose BEGIN waits for the first statement that needs a transaction.

For whoever uses it nothing is different: ``autocommit`` says what was set. Below, the driver stays
in autocommit until `is_plain_select` is false of a statement, or until something other than a
statement is asked for. From then on psycopg2 sends BEGIN by itself.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from psycopg2 import extensions

from postdo_serving.database import ISOLATION, is_plain_select

READ_COMMITTED = "read committed"

_set_autocommit = extensions.connection.autocommit.__set__  # type: ignore[attr-defined]


class Connection(extensions.connection):
    """The connection; its cursors tell it what they are about to execute."""

    _waits = False  # a transaction was asked for, and nothing has needed one yet
    # Whether each statement sees what is committed by then, as the server has it by default. In any
    # other isolation level the first SELECT decides what the later ones see.
    _is_read_committed: bool | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Connect."""
        super().__init__(*arguments, **named)
        self._strangers: WeakSet[extensions.cursor] = WeakSet()

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own."""
        return bool(super().autocommit) and not self._waits

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._waits = not value and bool(super().autocommit) and self._may_wait()
        if not self._waits:
            _set_autocommit(self, value)

    def begin(self) -> None:
        """Let the next statement begin the transaction that was asked for, if one was."""
        if self._waits:
            self._waits = False
            _set_autocommit(self, False)

    def before(self, statement: object) -> None:
        """Begin if this statement needs a transaction."""
        text = statement if isinstance(statement, str) else ""
        if is_plain_select(text):
            return
        if not text or ISOLATION.search(text):
            self._is_read_committed = None
        self.begin()

    def cursor(self, *arguments: Any, **named: Any) -> Any:
        """Return a cursor. One with a name, or of another class, is only safe in a transaction."""
        if arguments or named.get("name") is not None:
            self.begin()
        cursor = super().cursor(*arguments, **named)
        if not isinstance(cursor, Cursor):
            self._strangers.add(cursor)
            self.begin()
        return cursor

    def lobject(self, *arguments: Any, **named: Any) -> Any:
        """Return a large object, which lives in a transaction."""
        self.begin()
        return super().lobject(*arguments, **named)

    def _may_wait(self) -> bool:
        usual = (None, extensions.ISOLATION_LEVEL_READ_COMMITTED)
        if self.isolation_level not in usual or self._strangers:
            return False
        if self._is_read_committed is None:
            with self.cursor() as cursor:
                extensions.cursor.execute(cursor, "SHOW default_transaction_isolation")
                self._is_read_committed = cursor.fetchone() == (READ_COMMITTED,)
        return self._is_read_committed


class Cursor(extensions.cursor):
    """A cursor that has its connection begin before what needs it."""

    connection: Connection

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's name of it
        """Execute one statement."""
        self.connection.before(query)
        super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """Execute a statement with each of these parameters."""
        self.connection.begin()
        super().executemany(query, vars_list)

    def callproc(self, *arguments: Any, **named: Any) -> Any:
        """Call a function of the database."""
        self.connection.begin()
        return super().callproc(*arguments, **named)

    def copy_from(self, *arguments: Any, **named: Any) -> None:
        """Copy a file into a table."""
        self.connection.begin()
        super().copy_from(*arguments, **named)

    def copy_to(self, *arguments: Any, **named: Any) -> None:
        """Copy a table into a file."""
        self.connection.begin()
        super().copy_to(*arguments, **named)

    def copy_expert(self, *arguments: Any, **named: Any) -> None:
        """Copy as a COPY statement says."""
        self.connection.begin()
        super().copy_expert(*arguments, **named)


def begin_when_needed(wrapper: Any, usual_cursor: type) -> None:
    """Let Django's class `wrapper` connect so, where the project has no class of its own."""
    parameters = wrapper.get_connection_params

    def get_connection_params(self: Any) -> dict[str, Any]:
        chosen: dict[str, Any] = parameters(self)
        if "connection_factory" not in chosen and chosen["cursor_factory"] is usual_cursor:
            chosen |= {"connection_factory": Connection, "cursor_factory": Cursor}
        return chosen

    wrapper.get_connection_params = get_connection_params
