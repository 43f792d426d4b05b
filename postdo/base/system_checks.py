"""Django's system checks: what they find, and what they import.

``makemigrations`` and ``migrate`` run them before anything else. So they stop both of them where a
project says that it must not go on, and they load what nothing else does: the URLconf, and with it
the models that only views import. Whoever asks for all models has to run them first.
"""

from __future__ import annotations

from django.core import checks
from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS

from postdo.base.context import Run
from postdo.base.errors import Refused, one_line
from postdo.base.formatting import line, several
from postdo.base.project import set_up, where

MOST_SHOWN = 10


def require_checks(run: Run, *, database: bool) -> None:
    """Set the project up and run Django's system checks, as ``migrate`` and ``makemigrations`` do.

    ``database``: also run the checks of the default database, as ``migrate`` does. Raises
    ``Refused`` with the errors found, or with the exception that a check raised.
    """
    set_up()
    try:
        found = checks.run_checks(databases=[DEFAULT_DB_ALIAS] if database else None)
    except (Exception, SystemExit) as error:
        place = where(error)
        raise Refused(
            f"the system checks cannot run: {type(error).__name__}: {one_line(error)}",
            f"fix it at {place}" if place else f"see the full output: `{_command(run, database)}`",
        ) from error
    errors = [one for one in found if one.is_serious() and not one.is_silenced()]
    if not errors:
        return
    raise Refused(
        f"the project fails {several(len(errors), 'system check')}: {_words(errors[0])}",
        f"fix it, or see all of them: `{_command(run, database)}`",
        details=tuple(map(_words, errors[:MOST_SHOWN])) if len(errors) > 1 else (),
    )


def load_all_models() -> None:
    """Import the URLs and everything else that system checks import, and ignore what they find.

    For a process whose parent has already judged the checks.
    """
    try:
        checks.run_checks(databases=[DEFAULT_DB_ALIAS])
    except (Exception, SystemExit):  # noqa: BLE001  any code of the project
        return


def _words(message: CheckMessage) -> str:
    hint = f" ({message.hint})" if message.hint else ""
    # Its own text ends with the hint on a line for itself.
    bare = str(message).partition("\n\tHINT: ")[0]
    return line(bare + hint)


def _command(run: Run, database: bool) -> str:
    return run.config.manage("check" + (f" --database {DEFAULT_DB_ALIAS}" if database else ""))
