"""Is the database there, and is it ours? Wait while it may still come; stop when it never will."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.db import NotSupportedError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from postdo.base import sqlstates
from postdo.base.config import Config, Mode
from postdo.base.console import Stopwatch
from postdo.base.context import Run
from postdo.base.database import Target, connect, message, sqlstate, target
from postdo.base.errors import Misconfigured, PostdoError, Undone, one_line
from postdo.base.retry import Backoff

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0  # so a database that comes up is noticed within a second
CONNECT_SECONDS = 5.0  # where packets are dropped, libpq itself would wait for two minutes


class Problem(enum.Enum):
    """Why a connection failed; ``classify`` tells, ``explain`` says it to people."""

    NOT_UP = "not up yet"
    WRONG_PASSWORD = "wrong password"  # noqa: S105  names a problem
    NO_ROLE = "no such role"
    NO_DATABASE = "no such database"
    NOT_ALLOWED = "not allowed in"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Sign:
    problem: Problem
    states: frozenset[str]
    words: re.Pattern[str]


def _sign(problem: Problem, states: str, *words: str) -> _Sign:
    return _Sign(problem, frozenset(states.split()), re.compile("|".join(words), re.IGNORECASE))


# In this order, because libpq reports all addresses that it tried: one that refused does not
# count when another one answered. The states are in appendix A of the PostgreSQL manual; psycopg2
# and psycopg 3 give none when connecting, hence the words, which are those of libpq 13 to 18
# (fe-connect.c) and of the server in English (auth.c, postinit.c, postmaster.c).
SIGNS = (
    # Who waited behind a RENAME, as a swap makes it, finds another database of that name at once.
    _sign(Problem.NOT_UP, "", r"just been dropped or renamed"),
    _sign(
        Problem.NO_ROLE,
        "",
        r"role \".*\" does not exist",
        r"role \".*\" is not permitted to log in",
    ),
    _sign(
        Problem.NOT_ALLOWED,
        "",
        r"no pg_hba\.conf entry",
        r"pg_hba\.conf rejects",
        r"permission denied for database",
    ),
    _sign(
        Problem.WRONG_PASSWORD,
        "28P01 28000",
        r"authentication failed for user",
        r"no password supplied",
        r"password authentication failed",
    ),
    _sign(Problem.NO_DATABASE, sqlstates.INVALID_CATALOG_NAME, r"database \".*\" does not exist"),
    _sign(
        Problem.NOT_UP,
        "57P01 57P02 57P03 53300 08000 08001 08006",
        r"connection refused",
        r"could not translate host name",
        r"failed to resolve host",
        r"name or service not known",
        r"temporary failure in name resolution",
        r"(no route to host|network is unreachable|host is down)",
        r"timeout expired",
        r"timed out",
        r"is the server running",
        r"no such file or directory",
        r"connection reset by peer",
        r"closed the connection unexpectedly",
        r"connection has been closed unexpectedly",
        r"the database system is",
        r"terminating connection",
        r"too many (clients|connections)",
        r"remaining connection slots",
    ),
)


def classify(state: str | None, text: str) -> Problem:
    """Why connecting failed: from the SQLSTATE if there is one, otherwise from the message.

    libpq's own failures, such as an unknown host, have no SQLSTATE.
    """
    for sign in SIGNS:
        if (state and state in sign.states) or sign.words.search(text):
            return sign.problem
    return Problem.UNKNOWN


def wait(run: Run) -> BaseDatabaseWrapper:
    """Connect to the default database, and wait for it if it may still be starting.

    Tries again with growing pauses for at most ``wait_seconds``. Raises ``Misconfigured`` at once
    where waiting cannot help (wrong password, no such database), and ``Undone`` when the time is
    up.
    """
    where = target()
    watch = Stopwatch()
    backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    waiting = False
    while True:
        left = run.config.wait_seconds - watch.seconds
        try:
            session = connect(f"postdo {run.config.host}", min(CONNECT_SECONDS, left))
        except OperationalError as error:
            problem = classify(sqlstate(error), str(error))
            if problem not in (Problem.NOT_UP, Problem.UNKNOWN):
                raise explain(problem, where, run.config, message(error)) from error
            if watch.seconds >= run.config.wait_seconds:
                raise _too_late(where, run.config, message(error)) from error
            if not waiting:
                limit = f"for at most {run.config.wait_seconds:.0f} s"
                run.console.say(f"waiting {limit} for database {where}: {message(error)}")
                waiting = True
        except (ImproperlyConfigured, NotSupportedError) as error:
            raise Misconfigured(
                f"database {where} cannot be used: {one_line(error)}",
                "use a PostgreSQL that this version of Django supports, and check DATABASES",
            ) from error
        else:
            run.console.say(f"database ready ({watch})")
            return session
        backoff.sleep(run.config.wait_seconds - watch.seconds)


def _as_creator(config: Config) -> str:
    """psql as a role that may create databases: in the kit's containers the site's own may not."""
    in_docker = config.in_kit and config.mode is not Mode.LOCAL
    return f"{config.psql} -U postdo_superuser" if in_docker else config.psql


def explain(problem: Problem, where: Target, config: Config, said: str) -> PostdoError:
    """The error, with its remedy, for a database that answers but does not let us in.

    ``said``: the server's message.
    """
    if problem is Problem.WRONG_PASSWORD:
        return Misconfigured(
            f"database {where} rejects the password of user {where.user!r}: the one in .env is not "
            "the one that the volume was created with (PostgreSQL ignores POSTGRES_PASSWORD after "
            "its first start)"
            if config.in_kit
            else f"database {where} rejects the password of user {where.user!r}",
            f"put the old password back, or set the new one in the database: {config.psql}, then "
            f"\\password {where.user}",
        )
    if problem is Problem.NO_ROLE:
        return Misconfigured(
            f"database {where} rejects user {where.user!r}: {said}",
            "correct the user name in DATABASES (POSTGRES_USER in .env counts only at the first "
            "start of a volume)",
        )
    if problem is Problem.NO_DATABASE:
        return Misconfigured(
            f"the server at {where.host}:{where.port} has no database {where.name!r}",
            f"fix the name, or create the database: {_as_creator(config)} -d postgres -c 'CREATE "
            f'DATABASE "{where.name}" OWNER "{where.user}" TEMPLATE template0\'',
        )
    return Misconfigured(
        f"database {where} rejects user {where.user!r}: {said}",
        "allow this host, user and database in the server's pg_hba.conf; or, as a superuser: GRANT "
        f'CONNECT ON DATABASE "{where.name}" TO "{where.user}"',
    )


def _too_late(where: Target, config: Config, said: str) -> PostdoError:
    return Undone(
        f"database {where} did not answer within {config.wait_seconds:.0f} s: {said}",
        "check the log of the database, and HOST and PORT in DATABASES; or raise DB_WAIT_SECONDS "
        "to wait longer",
    )
