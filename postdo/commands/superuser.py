"""The ``superuser`` command: create the superuser that DJANGO_SUPERUSER_* describes, once.

It uses the project's own user model and manager, as Django's ``createsuperuser`` does. It imports
models, so the project must be set up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import get_password_validators, validate_password
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError, connections, transaction
from django.db.models import EmailField
from django.db.utils import ProgrammingError

from postdo.base import sqlstates
from postdo.base.config import SUPERUSER_PREFIX, Mode, SuperuserRequest
from postdo.base.context import Run
from postdo.base.database import sqlstate
from postdo.base.errors import Misconfigured, Refused, Undone, one_line

# Django's own four, as `startproject` writes them, for a project that has none.
DEFAULT_VALIDATORS = tuple(
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
)


@dataclass(frozen=True)
class Ensured:
    """How it ended.

    ``outcome``: ``none`` (not asked for), ``created``, ``exists`` or ``password changed``.

    ``login`` names the user.
    """

    outcome: str
    login: str = ""


@dataclass(frozen=True)
class _Wanted:
    model: Any
    login: str
    request: SuperuserRequest

    @property
    def manager(self) -> Any:
        return self.model._default_manager.db_manager(DEFAULT_DB_ALIAS)


def preflight(run: Run) -> Ensured | None:
    """The answer if there is nothing to do; ``None`` if ``ensure`` has work to do.

    It runs before the migrations, so that a value that would be refused later stops everything
    while nothing is changed yet. Raises ``Misconfigured`` for such a value.
    """
    wanted = _wanted(run)
    if wanted is None:
        return Ensured("none")
    try:
        there = _is_there(wanted)
        if there and not wanted.request.update_password:
            run.console.say(f"user {wanted.login} already exists")
            return Ensured("exists", wanted.login)
        _check_password(run, wanted, _fields(wanted, complete=not there))
    except ProgrammingError:
        pass  # a table is not as its model says: the migrations have to come first
    return None


def ensure(run: Run) -> Ensured:
    """Create the superuser, or leave an existing one alone. To be called under the lock.

    Raises ``Misconfigured`` for an unusable value, ``Refused`` if the table is missing, and
    ``Undone`` if the database refuses. A user that somebody creates meanwhile counts as existing.
    """
    wanted = _wanted(run)
    if wanted is None:
        return Ensured("none")
    with run.stop.guarded(lambda: connections[DEFAULT_DB_ALIAS].in_atomic_block):
        try:
            user = _find(wanted)
        except ProgrammingError as error:
            raise Refused(
                f"the users cannot be read: {one_line(error)}", "run `python -m postdo migrate`"
            ) from error
        return _create(run, wanted) if user is None else _leave_alone(run, wanted, user)


def _create(run: Run, wanted: _Wanted) -> Ensured:
    fields = _fields(wanted)
    _check_password(run, wanted, fields)
    try:
        with transaction.atomic(using=DEFAULT_DB_ALIAS):
            wanted.manager.create_superuser(**fields, password=wanted.request.password)
    except IntegrityError as error:
        user = _find(wanted, ignoring_case=True)
        if user is None:
            raise _rejected(wanted, error) from error
        return _leave_alone(run, wanted, user)
    except (DatabaseError, ValidationError, ValueError, TypeError, AttributeError) as error:
        raise _rejected(wanted, error) from error
    run.console.say(f"superuser {wanted.login} created")
    return Ensured("created", wanted.login)


def _leave_alone(run: Run, wanted: _Wanted, user: Any) -> Ensured:
    if not getattr(user, "is_superuser", True):
        run.console.warn(
            f"user {wanted.login} exists but is not a superuser; nothing was changed. To make it "
            f"one: {run.config.manage('shell')}"
        )
    elif not getattr(user, "is_active", True):
        run.console.warn(
            f"superuser {wanted.login} exists but is not active; nothing was changed. To activate "
            f"it: {run.config.manage('shell')}"
        )
    password = wanted.request.password
    if not (wanted.request.update_password and password):
        run.console.say(f"user {wanted.login} already exists")
        return Ensured("exists", wanted.login)
    if user.check_password(password):
        run.console.say(f"user {wanted.login} already exists, with this password")
        return Ensured("exists", wanted.login)
    _check_password(run, wanted, _fields(wanted, complete=False))
    user.set_password(password)
    user.save(using=DEFAULT_DB_ALIAS, update_fields=["password"])
    run.console.say(f"password of user {wanted.login} changed")
    return Ensured("password changed", wanted.login)


def _wanted(run: Run) -> _Wanted | None:
    request = run.config.superuser
    if request is None:
        return None
    try:
        model: Any = get_user_model()
    except ImproperlyConfigured as error:
        raise Misconfigured(
            f"{SUPERUSER_PREFIX}* asks for a superuser, but there is no user model: "
            f"{one_line(error)}",
            f"add django.contrib.auth to INSTALLED_APPS, or remove the {SUPERUSER_PREFIX}* "
            "variables",
        ) from error
    names = (model.USERNAME_FIELD.lower(), "username", "email")
    login = next((request.fields[name] for name in names if name in request.fields), "")
    if not login:
        return None
    return _Wanted(model, _normal(model, login), request)


def _normal(model: Any, login: str) -> str:
    """The login as the project's manager would store it."""
    if isinstance(model._meta.get_field(model.USERNAME_FIELD), EmailField):
        normalize = getattr(model._default_manager, "normalize_email", str)
    else:
        normalize = getattr(model, "normalize_username", str)
    return str(normalize(login))


def _is_email(wanted: _Wanted) -> bool:
    return isinstance(wanted.model._meta.get_field(wanted.model.USERNAME_FIELD), EmailField)


def _find(wanted: _Wanted, *, ignoring_case: bool = False) -> Any:
    """The user with this login, ``None`` if there is none.

    An address is the same person in capitals, also where the model does not say so.
    """
    try:
        return wanted.manager.get_by_natural_key(wanted.login)
    except (wanted.model.DoesNotExist, wanted.model.MultipleObjectsReturned):
        if ignoring_case or _is_email(wanted):
            return _same_login(wanted, "iexact").first()
        return None


def _is_there(wanted: _Wanted) -> bool:
    """Whether the user exists, from the one column that surely does."""
    try:
        return bool(_same_login(wanted, "iexact" if _is_email(wanted) else "exact").exists())
    except ProgrammingError as error:
        if sqlstate(error) == sqlstates.UNDEFINED_TABLE:
            return False
        raise


def _same_login(wanted: _Wanted, lookup: str) -> Any:
    return wanted.manager.filter(**{f"{wanted.model.USERNAME_FIELD}__{lookup}": wanted.login})


def _fields(wanted: _Wanted, *, complete: bool = True) -> dict[str, Any]:
    """Values for ``create_superuser``, cleaned by their fields (``complete``: all required)."""
    model, given = wanted.model, dict(wanted.request.fields)
    given[model.USERNAME_FIELD.lower()] = wanted.login
    values: dict[str, Any] = {}
    for name in (model.USERNAME_FIELD, *model.REQUIRED_FIELDS):
        field = model._meta.get_field(name)
        variable = f"{SUPERUSER_PREFIX}{name.upper()}"
        raw = given.get(name.lower())
        if raw is None:
            if complete and not (field.blank or field.has_default()):
                raise Misconfigured(
                    f"the user model {model._meta.label} needs {name}, but {variable} is not set",
                    f"set {variable}",
                )
            continue
        try:
            value = field.clean(raw, None)
        except ValidationError as error:
            raise Misconfigured(
                f"{variable} is invalid: {' '.join(error.messages)}", f"correct {variable}"
            ) from error
        values[name] = [key.strip() for key in raw.split(",")] if field.many_to_many else value
    return values


def _check_password(run: Run, wanted: _Wanted, fields: dict[str, Any]) -> None:
    password, variable = wanted.request.password, f"{SUPERUSER_PREFIX}PASSWORD"
    if not password:
        raise Misconfigured(
            f"superuser {wanted.login} cannot be created: {variable} is not set",
            f"set {variable} or {variable}_FILE, or remove the other {SUPERUSER_PREFIX} variables",
        )
    if run.config.mode is not Mode.PRODUCTION and settings.DEBUG:
        return
    validators = get_password_validators(settings.AUTH_PASSWORD_VALIDATORS or DEFAULT_VALIDATORS)
    plain = {name: value for name, value in fields.items() if isinstance(value, str)}
    try:
        validate_password(password, wanted.model(**plain), validators)
    except ValidationError as error:
        raise Misconfigured(
            f"the password of superuser {wanted.login} is too weak for production: "
            f"{' '.join(error.messages)}",
            f"choose another {variable}, such as what `openssl rand -base64 18` prints",
        ) from error


def _rejected(wanted: _Wanted, error: Exception) -> Undone:
    return Undone(
        f"superuser {wanted.login} could not be created: {one_line(error)}",
        f"fix the {SUPERUSER_PREFIX} variables, or create the superuser with manage.py "
        "createsuperuser",
    )
