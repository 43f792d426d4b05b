"""What visitors get when a page fails."""

import sys
from http import HTTPStatus

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import server_error as django_server_error

# PostgreSQL's: read_only_sql_transaction, and disk_full. On a full disk the kit refuses writes.
TAKES_NO_WRITES = {"25006", "53100"}
RETRY_SECONDS = 60


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 if the database takes no writes at the moment. Django has logged it."""
    if sqlstate(sys.exc_info()[1]) not in TAKES_NO_WRITES:
        return django_server_error(request)
    response = render(request, "503.html", status=HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = str(RETRY_SECONDS)
    return response


def sqlstate(error: BaseException | None) -> str:
    """PostgreSQL's code of an error, by psycopg2 or psycopg; empty if it is not from there."""
    if not isinstance(error, Error):
        return ""
    cause = error.__cause__
    return getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None) or ""
